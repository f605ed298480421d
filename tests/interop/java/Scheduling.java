import java.util.ArrayList;
import java.util.Enumeration;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import javax.jms.Connection;
import javax.jms.DeliveryMode;
import javax.jms.JMSException;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Queue;
import javax.jms.Session;
import javax.jms.TemporaryQueue;
import javax.jms.TextMessage;
import javax.jms.Topic;
import org.apache.activemq.ScheduledMessage;

/** Messages that are due later: delays, repetitions, transactions, topics, and browsing and cancelling them. */
public final class Scheduling {
    private static final String MANAGEMENT = ScheduledMessage.AMQ_SCHEDULER_MANAGEMENT_DESTINATION;
    private static final long FAR_MS = 3_600_000;

    private static Session session;
    private static MessageProducer producer;

    public static void main(String[] arguments) throws Exception {
        Connection connection = Jms.connect(arguments[0]);
        session = connection.createSession(false, Session.AUTO_ACKNOWLEDGE);
        producer = session.createProducer(null);
        delays();
        repetitions();
        transactions(connection);
        topics();
        management();
        connection.close();
    }

    private static void delays() throws JMSException {
        Queue queue = session.createQueue("interop.scheduling.delays");
        MessageConsumer consumer = session.createConsumer(queue);
        TextMessage later = text("later");
        later.setLongProperty(ScheduledMessage.AMQ_SCHEDULED_DELAY, 1_000);
        later.setStringProperty("colour", "red");
        producer.send(queue, later, DeliveryMode.NON_PERSISTENT, 7, FAR_MS);
        TextMessage byText = text("by text");
        byText.setStringProperty(ScheduledMessage.AMQ_SCHEDULED_DELAY, "3000");
        producer.send(queue, byText);
        producer.send(queue, text("now"));
        Jms.fact("first", Jms.receive(consumer));
        Message came = consumer.receive(Jms.WAIT_MS);
        Jms.fact("then", ((TextMessage) came).getText() + " " + names(came));
        Jms.fact("mode, priority", came.getJMSDeliveryMode() + " " + came.getJMSPriority());
        Jms.fact("same id", came.getJMSMessageID().equals(later.getJMSMessageID()));
        Jms.fact("lives on", came.getJMSExpiration() >= later.getJMSExpiration());
        Jms.fact("last", Jms.receive(consumer));
        consumer.close();
    }

    private static void repetitions() throws JMSException {
        Queue queue = session.createQueue("interop.scheduling.repetitions");
        MessageConsumer consumer = session.createConsumer(queue);
        TextMessage often = text("often");
        often.setLongProperty(ScheduledMessage.AMQ_SCHEDULED_DELAY, 500);
        often.setLongProperty(ScheduledMessage.AMQ_SCHEDULED_PERIOD, 500);
        often.setIntProperty(ScheduledMessage.AMQ_SCHEDULED_REPEAT, 2);
        producer.send(queue, often);
        Set<String> ids = new HashSet<>();
        Set<String> jobs = new HashSet<>();
        for (int i = 0; i < 3; i++) {
            Message message = consumer.receive(Jms.WAIT_MS);
            ids.add(message.getJMSMessageID());
            jobs.add(message.getStringProperty("scheduledJobId"));
        }
        Jms.fact("repeated, ids and jobs", ids.size() + " " + jobs.size());
        Jms.fact("repeated, no more", Jms.receive(consumer, 1_500));
        consumer.close();
    }

    private static void transactions(Connection connection) throws JMSException {
        Queue queue = session.createQueue("interop.scheduling.transactions");
        Session transacted = connection.createSession(true, Session.SESSION_TRANSACTED);
        MessageProducer within = transacted.createProducer(queue);
        MessageConsumer consumer = session.createConsumer(queue);
        for (String text : List.of("rolled back", "committed")) {
            TextMessage message = transacted.createTextMessage(text);
            message.setLongProperty(ScheduledMessage.AMQ_SCHEDULED_DELAY, 500);
            within.send(message);
            if (text.equals("committed")) {
                transacted.commit();
            } else {
                transacted.rollback();
            }
        }
        Jms.fact("transacted", Jms.receive(consumer));
        Jms.fact("transacted, no more", Jms.receive(consumer, 1_500));
        transacted.close();
        consumer.close();
    }

    private static void topics() throws JMSException {
        Topic topic = session.createTopic("interop.scheduling.topic");
        TextMessage message = text("to the topic");
        message.setLongProperty(ScheduledMessage.AMQ_SCHEDULED_DELAY, 1_500);
        producer.send(topic, message);
        MessageConsumer late = session.createConsumer(topic);
        Jms.fact("subscribed before it is due", Jms.receive(late));
        late.close();
    }

    private static void management() throws JMSException {
        Queue queue = session.createQueue("interop.scheduling.managed");
        TemporaryQueue answers = session.createTemporaryQueue();
        MessageConsumer consumer = session.createConsumer(answers);
        for (int i = 1; i <= 3; i++) {
            TextMessage message = text("m" + i);
            message.setLongProperty(ScheduledMessage.AMQ_SCHEDULED_DELAY, i * FAR_MS);
            producer.send(queue, message);
        }
        List<Message> all = browse(consumer, answers, 0, 0, 3);
        Jms.fact("browsed", texts(all));
        Jms.fact("browsed, of the first", names(all.get(0)) + " " + all.get(0).getJMSDeliveryMode());
        long now = System.currentTimeMillis();
        Jms.fact("browsed, the second hour", texts(browse(
            consumer, answers, now + FAR_MS + FAR_MS / 2, now + 2 * FAR_MS + FAR_MS / 2, 1)));
        Message remove = session.createMessage();
        remove.setStringProperty(ScheduledMessage.AMQ_SCHEDULER_ACTION, ScheduledMessage.AMQ_SCHEDULER_ACTION_REMOVE);
        remove.setStringProperty(ScheduledMessage.AMQ_SCHEDULED_ID, all.get(1).getStringProperty("scheduledJobId"));
        producer.send(session.createTopic(MANAGEMENT), remove);
        Jms.fact("after one was cancelled", texts(browse(consumer, answers, 0, 0, 2)));
        Message removeAll = session.createMessage();
        removeAll.setStringProperty(
            ScheduledMessage.AMQ_SCHEDULER_ACTION, ScheduledMessage.AMQ_SCHEDULER_ACTION_REMOVEALL);
        producer.send(session.createTopic(MANAGEMENT), removeAll);
        Jms.fact("after all were cancelled", texts(browse(consumer, answers, 0, 0, 0)));
        consumer.close();
    }

    private static List<Message> browse(
            MessageConsumer consumer, TemporaryQueue answers, long start_ms, long end_ms, int count)
            throws JMSException {
        Message request = session.createMessage();
        request.setStringProperty(
            ScheduledMessage.AMQ_SCHEDULER_ACTION, ScheduledMessage.AMQ_SCHEDULER_ACTION_BROWSE);
        if (end_ms > 0) {
            request.setStringProperty(
                ScheduledMessage.AMQ_SCHEDULER_ACTION_START_TIME, Long.toString(start_ms));
            request.setStringProperty(ScheduledMessage.AMQ_SCHEDULER_ACTION_END_TIME, Long.toString(end_ms));
        }
        request.setJMSReplyTo(answers);
        producer.send(session.createTopic(MANAGEMENT), request);
        List<Message> found = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            found.add(consumer.receive(Jms.WAIT_MS));
        }
        Message another = consumer.receive(Jms.NOTHING_MS);
        if (another != null) {
            found.add(another);
        }
        return found;
    }

    private static TextMessage text(String text) throws JMSException {
        return session.createTextMessage(text);
    }

    private static List<String> texts(List<Message> messages) throws JMSException {
        List<String> texts = new ArrayList<>();
        for (Message message : messages) {
            texts.add(((TextMessage) message).getText());
        }
        return texts;
    }

    private static Set<String> names(Message message) throws JMSException {
        Set<String> names = new TreeSet<>();
        for (Enumeration<?> each = message.getPropertyNames(); each.hasMoreElements();) {
            names.add((String) each.nextElement());
        }
        names.removeIf(name -> name.startsWith("JMS"));
        return names;
    }
}
