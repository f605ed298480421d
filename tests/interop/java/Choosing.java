import java.util.ArrayList;
import java.util.Collections;
import java.util.Enumeration;
import java.util.List;
import javax.jms.Connection;
import javax.jms.JMSException;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Queue;
import javax.jms.QueueBrowser;
import javax.jms.Session;
import javax.jms.TextMessage;

/** Consumers of queues that choose: selectors, priorities, exclusive consumers and message groups. */
public final class Choosing {
    private static Session session;

    public static void main(String[] arguments) throws Exception {
        Connection connection = Jms.connect(arguments[0]);
        session = connection.createSession(false, Session.AUTO_ACKNOWLEDGE);
        selectors();
        headers();
        priorities();
        exclusive();
        consumerPriority();
        groups();
        connection.close();
    }

    private static void selectors() throws JMSException {
        Queue queue = session.createQueue("interop.choosing.selectors");
        MessageProducer producer = session.createProducer(queue);
        for (int i = 1; i <= 6; i++) {
            TextMessage message = session.createTextMessage("m" + i);
            message.setStringProperty("colour", i % 2 == 0 ? "red" : "blue");
            message.setIntProperty("size", i);
            producer.send(message);
        }
        Jms.fact("invalid", refusal(queue, "colour = = 'red'"));
        Jms.fact("browsed", browse(queue, "colour LIKE 'b%' AND size BETWEEN 2 AND 9"));
        MessageConsumer large = session.createConsumer(queue, "colour = 'red' AND size > 3");
        Jms.fact("large and red", take(large, 2));
        Jms.fact("large and red, no more", Jms.receiveNothing(large));
        MessageConsumer unknown = session.createConsumer(queue, "NOT (weight = 5)");
        Jms.fact("unknown", Jms.receiveNothing(unknown));
        unknown.close();
        producer.send(coloured("m7", "red", 7));
        Jms.fact("large and red, later", take(large, 1));
        large.close();
        MessageConsumer rest = session.createConsumer(queue);
        Jms.fact("the rest", take(rest, 4));
        rest.close();
        producer.close();
    }

    private static void headers() throws JMSException {
        Queue queue = session.createQueue("interop.choosing.headers");
        MessageProducer producer = session.createProducer(queue);
        producer.setPriority(7);
        TextMessage message = session.createTextMessage("with headers");
        message.setJMSType("order");
        message.setJMSCorrelationID("job 7");
        producer.send(message);
        String selector = "JMSType = 'order' AND JMSCorrelationID IN ('job 7', 'job 8') AND JMSPriority > 6"
            + " AND JMSDeliveryMode = 'PERSISTENT' AND JMSTimestamp > 0 AND JMSExpiration = 0"
            + " AND JMSReplyTo IS NULL AND JMSMessageID LIKE 'ID:%' AND JMSXDeliveryCount = 1";
        MessageConsumer consumer = session.createConsumer(queue, selector);
        Jms.fact("by headers", take(consumer, 1));
        consumer.close();
        producer.close();
    }

    private static void priorities() throws JMSException {
        Queue queue = session.createQueue("interop.choosing.priorities");
        MessageProducer producer = session.createProducer(queue);
        int[] priorities = {4, 9, 1, 4, 9, 1};
        for (int i = 0; i < priorities.length; i++) {
            producer.setPriority(priorities[i]);
            producer.send(session.createTextMessage(priorities[i] + "." + i));
        }
        MessageConsumer consumer = session.createConsumer(queue);
        Jms.fact("by priority", take(consumer, priorities.length));
        consumer.close();
        producer.close();
    }

    private static void exclusive() throws JMSException {
        String name = "interop.choosing.exclusive";
        MessageConsumer first = session.createConsumer(session.createQueue(name + "?consumer.exclusive=true"));
        MessageConsumer second = session.createConsumer(session.createQueue(name + "?consumer.exclusive=true"));
        Jms.sendTexts(session, session.createQueue(name), "e1", "e2");
        Jms.fact("first", take(first, 2));
        Jms.fact("second", Jms.receiveNothing(second));
        first.close();
        Jms.sendTexts(session, session.createQueue(name), "e3");
        Jms.fact("second, afterwards", take(second, 1));
        second.close();
    }

    private static void consumerPriority() throws JMSException {
        String name = "interop.choosing.consumers";
        MessageConsumer low = session.createConsumer(session.createQueue(name + "?consumer.priority=1"));
        MessageConsumer high = session.createConsumer(session.createQueue(name + "?consumer.priority=7"));
        Jms.sendTexts(session, session.createQueue(name), "c1", "c2", "c3");
        Jms.fact("high", take(high, 3));
        Jms.fact("low", Jms.receiveNothing(low));
        low.close();
        high.close();
    }

    private static void groups() throws JMSException {
        Queue queue = session.createQueue("interop.choosing.groups");
        MessageConsumer[] consumers = {session.createConsumer(queue), session.createConsumer(queue)};
        MessageProducer producer = session.createProducer(queue);
        for (int i = 0; i < 8; i++) {
            producer.send(grouped("g" + i, i % 2 == 0 ? "even" : "odd"));
        }
        int owner = -1;
        List<String> found = new ArrayList<>();
        for (int i = 0; i < consumers.length; i++) {
            String got = take(consumers[i], 4);
            found.add(got);
            owner = got.startsWith("g0") ? i : owner;
        }
        Collections.sort(found);
        Jms.fact("groups", found);
        consumers[owner].close();
        producer.send(grouped("g8", "even"));
        Jms.fact("a new owner", take(consumers[1 - owner], 1));
        consumers[1 - owner].close();
        producer.close();
    }

    private static TextMessage grouped(String text, String group) throws JMSException {
        TextMessage message = session.createTextMessage(text);
        message.setStringProperty("JMSXGroupID", group);
        return message;
    }

    private static TextMessage coloured(String text, String colour, int size) throws JMSException {
        TextMessage message = session.createTextMessage(text);
        message.setStringProperty("colour", colour);
        message.setIntProperty("size", size);
        return message;
    }

    private static String refusal(Queue queue, String selector) {
        try {
            session.createConsumer(queue, selector).close();
            return "taken";
        } catch (JMSException refused) {
            return refused.getClass().getSimpleName();
        }
    }

    private static String browse(Queue queue, String selector) throws JMSException {
        QueueBrowser browser = session.createBrowser(queue, selector);
        StringBuilder seen = new StringBuilder();
        for (Enumeration<?> each = browser.getEnumeration(); each.hasMoreElements(); ) {
            seen.append(((TextMessage) each.nextElement()).getText()).append(' ');
        }
        browser.close();
        return seen.append("end").toString();
    }

    private static String take(MessageConsumer consumer, int count) throws JMSException {
        List<String> texts = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            Message message = consumer.receive(Jms.WAIT_MS);
            texts.add(message == null ? "nothing" : ((TextMessage) message).getText());
        }
        return String.join(" ", texts);
    }
}
