import java.util.ArrayList;
import java.util.Enumeration;
import java.util.HexFormat;
import java.util.List;
import java.util.TreeSet;
import javax.jms.BytesMessage;
import javax.jms.Connection;
import javax.jms.DeliveryMode;
import javax.jms.JMSException;
import javax.jms.MapMessage;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageEOFException;
import javax.jms.MessageProducer;
import javax.jms.ObjectMessage;
import javax.jms.Session;
import javax.jms.StreamMessage;
import javax.jms.TextMessage;
import javax.jms.Topic;
import org.apache.activemq.ActiveMQConnectionFactory;

/**
 * Sends one message of each kind to a topic, and says what it receives from the topics of all protocols.
 * Arguments: URL, pattern of the topics, own topic, how many messages to wait for. Ends when it is told to.
 */
public final class Conversion {
    public static void main(String[] arguments) throws Exception {
        ActiveMQConnectionFactory factory = Jms.factory(arguments[0]);
        factory.setTrustAllPackages(true);
        Connection connection = factory.createConnection();
        connection.start();
        Session session = connection.createSession(false, Session.AUTO_ACKNOWLEDGE);
        MessageConsumer consumer = session.createConsumer(session.createTopic(arguments[1]));
        Jms.fact("ready", "");
        sendAll(session, session.createTopic(arguments[2]));
        compressed(arguments[0], arguments[2]);
        for (int number = Integer.parseInt(arguments[3]); number > 0; number--) {
            Message message = consumer.receive(Jms.WAIT_MS);
            if (message == null) {
                Jms.fact("missing", number);
                break;
            }
            Jms.fact("got", describe(message));
        }
        connection.close();
        Jms.fact("done", "");
        System.in.read();
    }

    private static void sendAll(Session session, Topic topic) throws Exception {
        MessageProducer producer = session.createProducer(topic);
        TextMessage text = session.createTextMessage("text \u00fc \ud83d\udc07");
        text.setJMSCorrelationID("correlation");
        text.setJMSType("kind");
        text.setJMSReplyTo(session.createQueue("answers"));
        text.setStringProperty("JMSXGroupID", "group");
        text.setIntProperty("JMSXGroupSeq", 3);
        text.setBooleanProperty("flag", true);
        text.setByteProperty("byte", (byte) 1);
        text.setShortProperty("short", (short) 2);
        text.setIntProperty("int", 3);
        text.setLongProperty("long", 4L);
        text.setFloatProperty("float", 0.1f);
        text.setDoubleProperty("double", 6.5);
        text.setStringProperty("string", "seven \u00fc");
        producer.send(text, DeliveryMode.PERSISTENT, 7, 600_000);
        producer.setDeliveryMode(DeliveryMode.NON_PERSISTENT);
        BytesMessage bytes = session.createBytesMessage();
        bytes.writeBytes(new byte[] {0, 1, -1});
        producer.send(bytes);
        MapMessage map = session.createMapMessage();
        map.setString("name", "value");
        map.setInt("number", 5);
        producer.send(map);
        StreamMessage stream = session.createStreamMessage();
        stream.writeInt(1);
        stream.writeString("two");
        producer.send(stream);
        producer.send(session.createObjectMessage(new ArrayList<>(List.of("a"))));
        producer.send(session.createMessage());
    }

    /** Bodies that its client has compressed. */
    private static void compressed(String url, String topic) throws Exception {
        ActiveMQConnectionFactory factory = Jms.factory(url);
        factory.setUseCompression(true);
        Connection connection = factory.createConnection();
        Session session = connection.createSession(false, Session.AUTO_ACKNOWLEDGE);
        MessageProducer producer = session.createProducer(session.createTopic(topic));
        producer.setDeliveryMode(DeliveryMode.NON_PERSISTENT);
        producer.send(session.createTextMessage("compressed \u00fc"));
        BytesMessage bytes = session.createBytesMessage();
        bytes.writeBytes(new byte[] {2, 3});
        producer.send(bytes);
        connection.close();
    }

    /** Where from, the body, and what is not as it is by default. */
    private static String describe(Message message) throws Exception {
        List<String> words = new ArrayList<>(List.of(String.valueOf(message.getJMSDestination()), body(message)));
        add(words, "correlation", message.getJMSCorrelationID());
        add(words, "type", message.getJMSType());
        add(words, "reply to", message.getJMSReplyTo());
        add(words, "priority", message.getJMSPriority() == Message.DEFAULT_PRIORITY ? null : message.getJMSPriority());
        add(words, "persistent", message.getJMSDeliveryMode() == DeliveryMode.PERSISTENT ? true : null);
        add(words, "expires", message.getJMSExpiration() > System.currentTimeMillis() ? true : null);
        add(words, "no time", message.getJMSTimestamp() > 1_600_000_000_000L ? null : message.getJMSTimestamp());
        add(words, "odd id", message.getJMSMessageID().startsWith("ID:") ? null : message.getJMSMessageID());
        for (Object name : sorted(message.getPropertyNames())) {
            Object value = message.getObjectProperty((String) name);
            add(words, "property " + name, typed(value));
        }
        return String.join(" | ", words);
    }

    private static void add(List<String> words, String name, Object value) {
        if (value != null) {
            words.add(name + "=" + value);
        }
    }

    private static String body(Message message) throws Exception {
        if (message instanceof TextMessage) {
            return "text " + ((TextMessage) message).getText();
        }
        if (message instanceof BytesMessage) {
            byte[] data = new byte[(int) ((BytesMessage) message).getBodyLength()];
            ((BytesMessage) message).readBytes(data);
            return "bytes " + HexFormat.of().formatHex(data);
        }
        if (message instanceof MapMessage) {
            MapMessage map = (MapMessage) message;
            List<String> entries = new ArrayList<>();
            for (Object name : sorted(map.getMapNames())) {
                entries.add(name + "=" + typed(map.getObject((String) name)));
            }
            return "map " + entries;
        }
        if (message instanceof StreamMessage) {
            return "stream " + values((StreamMessage) message);
        }
        return message instanceof ObjectMessage ? "object " + ((ObjectMessage) message).getObject() : "empty";
    }

    private static TreeSet<Object> sorted(Enumeration<?> names) {
        TreeSet<Object> sorted = new TreeSet<>();
        while (names.hasMoreElements()) {
            sorted.add(names.nextElement());
        }
        return sorted;
    }

    private static List<String> values(StreamMessage stream) throws JMSException {
        List<String> values = new ArrayList<>();
        try {
            while (true) {
                values.add(typed(stream.readObject()));
            }
        } catch (MessageEOFException end) {
            return values;
        }
    }

    private static String typed(Object value) {
        return value + ":" + (value == null ? "null" : value.getClass().getSimpleName());
    }
}
