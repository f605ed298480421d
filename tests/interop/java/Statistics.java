import java.util.ArrayList;
import java.util.Collections;
import java.util.Enumeration;
import java.util.List;
import javax.jms.Connection;
import javax.jms.DeliveryMode;
import javax.jms.Destination;
import javax.jms.JMSException;
import javax.jms.MapMessage;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Queue;
import javax.jms.Session;
import javax.jms.Topic;

/** Questions for statistics, and what the answers hold: keys, types, and the figures that are certain. */
public final class Statistics {
    private static final String PREFIX = "ActiveMQ.Statistics.";
    private static final String END = PREFIX + "Destination.List.End.With.Null";

    private final Session session;
    private final Queue replies;
    private final MessageConsumer answers;
    private final MessageProducer asking;

    private Statistics(Connection connection) throws JMSException {
        session = connection.createSession(false, Session.AUTO_ACKNOWLEDGE);
        replies = session.createTemporaryQueue();
        answers = session.createConsumer(replies);
        asking = session.createProducer(null);
        asking.setDeliveryMode(DeliveryMode.NON_PERSISTENT);
    }

    public static void main(String[] arguments) throws Exception {
        Connection connection = Jms.connect(arguments[0]);
        Statistics statistics = new Statistics(connection);
        Session session = connection.createSession(false, Session.CLIENT_ACKNOWLEDGE);
        Queue queue = session.createQueue("interop.stat.a");
        Jms.sendTexts(session, queue, "1", "2", "3", "4");
        Jms.sendTexts(session, session.createQueue("interop.stat.b"), "1");
        MessageConsumer consumer = session.createConsumer(queue);
        consumer.receive(Jms.WAIT_MS).acknowledge();
        consumer.receive(Jms.WAIT_MS);
        MessageProducer producer = session.createProducer(queue);

        MapMessage answer = statistics.settled("Destination.interop.stat.a", "dequeueCount", 1);
        Jms.fact("keys of a destination", keys(answer));
        for (String key : List.of("destinationName", "size", "enqueueCount", "dequeueCount", "dispatchCount",
            "inflightCount", "expiredCount", "consumerCount", "producerCount")) {
            Jms.fact(key, answer.getObject(key));
        }
        Jms.fact("correlation and type", answer.getJMSCorrelationID() + " " + answer.getJMSType() + " "
            + answer.getJMSDeliveryMode());
        statistics.ask(session.createQueue(PREFIX + "Destination.interop.stat.b"),
            PREFIX + "Destination.Include.First.Message.Timestamp");
        long age = System.currentTimeMillis() - statistics.next().getLong("firstMessageTimestamp");
        Jms.fact("age of the first message", age >= -1000 && age < 60_000);

        statistics.ask(session.createQueue(PREFIX + "Destination.interop.stat.>"), END);
        Jms.fact("wildcard", statistics.names());
        statistics.ask(session.createTopic(PREFIX + "Destination.interop.stat.>"), END);
        Jms.fact("wildcard for topics", statistics.names());
        statistics.ask(session.createQueue(PREFIX + "Destination." + END + "interop.stat.b"), null);
        Jms.fact("end in the name", statistics.names());
        statistics.ask(session.createQueue(PREFIX + "Destination.interop.stat.none"), null);
        Jms.fact("unknown", statistics.answers.receive(Jms.NOTHING_MS));

        statistics.ask(session.createQueue(PREFIX + "Broker"), null);
        answer = statistics.next();
        Jms.fact("keys of the broker", keys(answer));
        Jms.fact("figures of the broker", answer.getLong("enqueueCount") >= 5 && answer.getLong("memoryLimit") > 0
            && answer.getLong("storeLimit") > 0 && answer.getLong("consumerCount") >= 2);
        Jms.fact("address", answer.getString("openwire").startsWith("tcp://"));
        statistics.subscriptions();

        statistics.ask(session.createQueue(PREFIX + "Broker"), PREFIX + "Broker.Reset");
        statistics.next();
        statistics.ask(session.createQueue(PREFIX + "Destination.interop.stat.a"), null);
        answer = statistics.next();
        Jms.fact("after a reset", answer.getLong("enqueueCount") + " " + answer.getLong("size"));
        producer.close();
        connection.close();
    }

    private void subscriptions() throws JMSException {
        Topic topic = session.createTopic("interop.stat.topic");
        MessageConsumer subscriber = session.createConsumer(topic);
        ask(session.createQueue(PREFIX + "Subscription"), null);
        for (Message each = answers.receive(Jms.WAIT_MS); each != null; each = answers.receive(Jms.NOTHING_MS)) {
            MapMessage answer = (MapMessage) each;
            if (answer.getString("destinationName").equals("interop.stat.a")) {
                Jms.fact("keys of a subscription", keys(answer));
                for (String key : List.of("dequeueCounter", "dispatchedCounter", "dispatchedQueueSize",
                    "prefetchSize", "exclusive", "retroactive", "slowConsumer")) {
                    Jms.fact(key, answer.getObject(key));
                }
            }
            if (answer.getString("destinationName").equals("interop.stat.topic")) {
                Jms.fact("prefetch of a topic", answer.getInt("prefetchSize"));
            }
        }
        subscriber.close();
    }

    private void ask(Destination destination, String property) throws JMSException {
        Message question = session.createMessage();
        question.setJMSReplyTo(replies);
        question.setJMSCorrelationID("asked");
        if (property != null) {
            question.setBooleanProperty(property, true);
        }
        asking.send(destination, question);
    }

    private MapMessage next() throws JMSException {
        return (MapMessage) answers.receive(Jms.WAIT_MS);
    }

    /** The figures once one of them has come to a value; a broker counts acknowledgements when they arrive. */
    private MapMessage settled(String question, String key, long value) throws Exception {
        MapMessage answer = null;
        for (int attempt = 0; attempt < 100; attempt++) {
            ask(session.createQueue(PREFIX + question), null);
            answer = next();
            if (answer.getLong(key) == value) {
                break;
            }
            Thread.sleep(50);
        }
        return answer;
    }

    private String names() throws JMSException {
        List<String> names = new ArrayList<>();
        for (MapMessage each = next(); each.getMapNames().hasMoreElements(); each = next()) {
            names.add(each.getString("destinationName"));
        }
        Collections.sort(names);
        return names.toString();
    }

    private static String keys(MapMessage answer) throws JMSException {
        List<String> keys = new ArrayList<>();
        Enumeration<?> found = answer.getMapNames();
        while (found.hasMoreElements()) {
            String key = found.nextElement().toString();
            Object value = answer.getObject(key);
            keys.add(key + ":" + (value == null ? "null" : value.getClass().getSimpleName()));
        }
        Collections.sort(keys);
        return String.join(" ", keys);
    }
}
