import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import javax.jms.Connection;
import javax.jms.Destination;
import javax.jms.JMSException;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Session;
import javax.jms.TextMessage;
import org.apache.activemq.command.ActiveMQMessage;

/** Wildcards, composite destinations and virtual topics: who gets what, and what a message says of its way. */
public final class Destinations {
    private static Session session;

    public static void main(String[] arguments) throws Exception {
        Connection connection = Jms.connect(arguments[0]);
        session = connection.createSession(false, Session.AUTO_ACKNOWLEDGE);
        wildcards();
        composites();
        transactions(connection);
        virtualTopics();
        connection.close();
    }

    private static void wildcards() throws JMSException {
        send("early", session.createQueue("interop.w.early"));
        MessageConsumer all = session.createConsumer(session.createQueue("interop.w.>"));
        send("late", session.createQueue("interop.w.late"));
        send("deep", session.createQueue("interop.w.a.b.c"));
        send("root", session.createQueue("interop.w"));
        Jms.fact("queues below, and the root", take(all, 4));
        Jms.fact("queues below, no more", Jms.receiveNothing(all));
        all.close();

        MessageConsumer one = session.createConsumer(session.createQueue("interop.*.x"));
        for (String name : List.of("interop.a.x", "interop.b.x")) {
            send(name, session.createQueue(name));
        }
        send("two elements", session.createQueue("interop.v.v.x"));
        Jms.fact("one element", take(one, 2));
        Jms.fact("one element, no more", Jms.receiveNothing(one));
        one.close();

        MessageConsumer topics = session.createConsumer(session.createTopic("interop.t.>"));
        send("topic", session.createTopic("interop.t.a"));
        send("queue", session.createQueue("interop.t.a"));
        Jms.fact("topics", take(topics, 1));
        Jms.fact("topics, no more", Jms.receiveNothing(topics));
        topics.close();
    }

    private static void composites() throws JMSException {
        MessageConsumer topic = session.createConsumer(session.createTopic("interop.c3"));
        send("to three", session.createQueue("interop.c1,interop.c2,topic://interop.c3"));
        Jms.fact("heard on the topic", take(topic, 1));
        topic.close();
        MessageConsumer both = session.createConsumer(session.createQueue("interop.c1,interop.c2"));
        Jms.fact("taken from both queues", take(both, 2));
        Jms.fact("both queues, no more", Jms.receiveNothing(both));
        both.close();
    }

    private static void transactions(Connection connection) throws JMSException {
        Session transacted = connection.createSession(true, Session.SESSION_TRANSACTED);
        MessageProducer producer = transacted.createProducer(transacted.createQueue("interop.d1,interop.d2"));
        producer.send(transacted.createTextMessage("rolled back"));
        transacted.rollback();
        producer.send(transacted.createTextMessage("committed"));
        MessageConsumer consumer = session.createConsumer(session.createQueue("interop.d1,interop.d2"));
        Jms.fact("before commit", Jms.receiveNothing(consumer));
        transacted.commit();
        Jms.fact("after commit", take(consumer, 2));
        consumer.close();
        transacted.close();
    }

    private static void virtualTopics() throws JMSException {
        Destination topic = session.createTopic("VirtualTopic.interop.x");
        send("before there were consumers", topic);
        MessageConsumer a = session.createConsumer(session.createQueue("Consumer.A.VirtualTopic.interop.x"));
        MessageConsumer b = session.createConsumer(session.createQueue("Consumer.B.VirtualTopic.interop.x"));
        MessageConsumer subscriber = session.createConsumer(topic);
        send("virtual", topic);
        Jms.fact("consumer A", take(a, 1));
        Jms.fact("consumer B", take(b, 1));
        Jms.fact("subscriber", take(subscriber, 1));
        a.close();
        send("while A is away", topic);
        a = session.createConsumer(session.createQueue("Consumer.A.VirtualTopic.interop.x"));
        Jms.fact("consumer A, afterwards", take(a, 1));
        Jms.fact("consumer A, no more", Jms.receiveNothing(a));
        MessageConsumer c = session.createConsumer(session.createQueue("Consumer.C.VirtualTopic.interop.>"));
        send("to a wildcard", topic);
        Jms.fact("consumer C", ((TextMessage) c.receive(Jms.WAIT_MS)).getText());
        for (MessageConsumer consumer : List.of(a, b, c, subscriber)) {
            consumer.close();
        }
    }

    private static void send(String text, Destination destination) throws JMSException {
        MessageProducer producer = session.createProducer(destination);
        producer.send(session.createTextMessage(text));
        producer.close();
    }

    /** So many messages, sorted: the text, where it was found, and where it was sent to. */
    private static String take(MessageConsumer consumer, int count) throws JMSException {
        List<String> found = new ArrayList<>();
        for (int number = 0; number < count; number++) {
            Message message = consumer.receive(Jms.WAIT_MS);
            if (message == null) {
                break;
            }
            Object original = ((ActiveMQMessage) message).getOriginalDestination();
            found.add(((TextMessage) message).getText() + " at " + message.getJMSDestination()
                + (original == null ? "" : " from " + original));
        }
        Collections.sort(found);
        return String.join("; ", found);
    }
}
