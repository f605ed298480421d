import java.util.Enumeration;
import java.util.TreeSet;
import javax.jms.BytesMessage;
import javax.jms.Connection;
import javax.jms.DeliveryMode;
import javax.jms.MapMessage;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.ObjectMessage;
import javax.jms.Queue;
import javax.jms.Session;
import javax.jms.StreamMessage;
import javax.jms.TextMessage;
import org.apache.activemq.ActiveMQConnectionFactory;

/** Sends and receives every kind of body, every type of property and the headers. */
public final class Bodies {
    public static void main(String[] arguments) throws Exception {
        ActiveMQConnectionFactory factory = Jms.factory(arguments[0]);
        factory.setTrustAllPackages(true);
        Connection connection = factory.createConnection();
        connection.start();
        Session session = connection.createSession(false, Session.AUTO_ACKNOWLEDGE);
        Queue queue = session.createQueue("interop.bodies");
        MessageProducer producer = session.createProducer(queue);
        MessageConsumer consumer = session.createConsumer(queue);

        bodies(session, producer, consumer);
        headers(session, producer, consumer);
        properties(session, producer, consumer);
        connection.close();
    }

    private static Message through(Message sent, MessageProducer producer, MessageConsumer consumer) throws Exception {
        producer.send(sent);
        return consumer.receive(Jms.WAIT_MS);
    }

    private static void bodies(Session session, MessageProducer producer, MessageConsumer consumer) throws Exception {
        String text = "plain, \u00fcml\u00e4ut, \u6f22\u5b57, \ud83d\udc07, nul \u0000 inside";
        TextMessage textGot = (TextMessage) through(session.createTextMessage(text), producer, consumer);
        Jms.fact("text", textGot.getText().equals(text));
        TextMessage none = (TextMessage) through(session.createTextMessage(), producer, consumer);
        Jms.fact("text without body", none.getText());
        String large = "0123456789abcdef".repeat(65_536);
        TextMessage largeGot = (TextMessage) through(session.createTextMessage(large), producer, consumer);
        Jms.fact("text of a mebibyte", largeGot.getText().equals(large));

        BytesMessage bytes = session.createBytesMessage();
        bytes.writeInt(42);
        bytes.writeUTF("bytes");
        bytes.writeBytes(new byte[] {0, -1, 127, -128});
        BytesMessage bytesGot = (BytesMessage) through(bytes, producer, consumer);
        Jms.fact("bytes", bytesGot.readInt() + " " + bytesGot.readUTF() + " " + bytesGot.getBodyLength());

        MapMessage map = session.createMapMessage();
        map.setBoolean("boolean", true);
        map.setByte("byte", (byte) -7);
        map.setChar("char", '\u00e9');
        map.setDouble("double", 2.5);
        map.setLong("long", Long.MIN_VALUE);
        map.setString("string", "value");
        map.setBytes("bytes", new byte[] {1, 2, 3});
        MapMessage mapGot = (MapMessage) through(map, producer, consumer);
        TreeSet<Object> names = new TreeSet<>();
        for (Enumeration<?> each = mapGot.getMapNames(); each.hasMoreElements();) {
            names.add(each.nextElement());
        }
        Jms.fact("map", names + " " + mapGot.getBoolean("boolean")
            + " " + mapGot.getByte("byte") + " " + (int) mapGot.getChar("char") + " " + mapGot.getDouble("double")
            + " " + mapGot.getLong("long") + " " + mapGot.getString("string") + " " + mapGot.getBytes("bytes").length);

        StreamMessage stream = session.createStreamMessage();
        stream.writeInt(1);
        stream.writeString("two");
        stream.writeFloat(3.5f);
        StreamMessage streamGot = (StreamMessage) through(stream, producer, consumer);
        Jms.fact("stream", streamGot.readInt() + " " + streamGot.readString() + " " + streamGot.readFloat());

        ObjectMessage object = session.createObjectMessage(new java.util.ArrayList<>(java.util.List.of("a", "b")));
        Jms.fact("object", ((ObjectMessage) through(object, producer, consumer)).getObject());

        Jms.fact("message without body", through(session.createMessage(), producer, consumer).getJMSType());
    }

    private static void headers(Session session, MessageProducer producer, MessageConsumer consumer) throws Exception {
        TextMessage message = session.createTextMessage("headers");
        message.setJMSCorrelationID("correlation-1");
        message.setJMSType("kind");
        message.setJMSReplyTo(session.createTopic("interop.answers"));
        producer.send(message, DeliveryMode.NON_PERSISTENT, 7, 60_000);
        Message got = consumer.receive(Jms.WAIT_MS);
        Jms.fact("same message id", got.getJMSMessageID().equals(message.getJMSMessageID()));
        Jms.fact("same expiration", got.getJMSExpiration() == message.getJMSExpiration());
        Jms.fact("headers", got.getJMSCorrelationID() + " " + got.getJMSType() + " " + got.getJMSReplyTo() + " "
            + got.getJMSDestination() + " " + got.getJMSPriority() + " " + got.getJMSDeliveryMode()
            + " " + got.getJMSRedelivered());
    }

    private static void properties(Session session, MessageProducer producer, MessageConsumer consumer)
        throws Exception {
        Message message = session.createMessage();
        message.setBooleanProperty("flag", true);
        message.setByteProperty("byte", (byte) 1);
        message.setShortProperty("short", (short) 2);
        message.setIntProperty("int", 3);
        message.setLongProperty("long", 4L);
        message.setFloatProperty("float", 5.5f);
        message.setDoubleProperty("double", 6.5);
        message.setStringProperty("string", "seven \u00fc");
        Message got = through(message, producer, consumer);
        Jms.fact("properties", got.getBooleanProperty("flag") + " " + got.getByteProperty("byte") + " "
            + got.getShortProperty("short") + " " + got.getIntProperty("int") + " " + got.getLongProperty("long") + " "
            + got.getFloatProperty("float") + " " + got.getDoubleProperty("double") + " "
            + got.getStringProperty("string").equals("seven \u00fc"));
    }
}
