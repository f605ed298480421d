import java.util.ArrayList;
import java.util.List;
import javax.jms.Connection;
import javax.jms.JMSException;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Queue;
import javax.jms.Session;
import javax.jms.TextMessage;

/** Message groups: who owns one, from when to when, and what its consumer is told. */
public final class Groups {
    private static Session session;
    private static Queue queue;
    private static MessageProducer producer;

    public static void main(String[] arguments) throws Exception {
        Connection connection = Jms.connect(arguments[0]);
        session = connection.createSession(false, Session.AUTO_ACKNOWLEDGE);
        queue = session.createQueue("interop.groups");
        producer = session.createProducer(queue);
        MessageConsumer first = session.createConsumer(queue);
        send("x1", "x", 1);
        send("x2", "x", 2);
        send("y1", "y", 1);
        Jms.fact("one consumer", take(first, 3));
        MessageConsumer second = session.createConsumer(queue);
        send("z1", "z", 1);
        Jms.fact("a new group, for whom has fewer", take(second, 1));
        send("x3", "x", 3);
        Jms.fact("an old group stays", take(first, 1));
        send("x4", "x", -1);
        Jms.fact("closed", take(first, 1));
        send("x5", "x", 0);
        Jms.fact("opened again, for whom has as few", takeFromEither(first, second));
        send("z2", "z", 2);
        Jms.fact("not told again", take(second, 1));
        second.close();
        send("z3", "z", 3);
        Jms.fact("the owner is gone", take(first, 1));
        connection.close();
    }

    private static void send(String text, String group, int sequence) throws JMSException {
        TextMessage message = session.createTextMessage(text);
        message.setStringProperty("JMSXGroupID", group);
        message.setIntProperty("JMSXGroupSeq", sequence);
        producer.send(message);
    }

    private static String take(MessageConsumer consumer, int count) throws JMSException {
        List<String> found = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            found.add(told((TextMessage) consumer.receive(Jms.WAIT_MS)));
        }
        return String.join(", ", found);
    }

    /** From whichever of two consumers has it. */
    private static String takeFromEither(MessageConsumer... either) throws JMSException {
        long end = System.currentTimeMillis() + Jms.WAIT_MS;
        while (System.currentTimeMillis() < end) {
            for (MessageConsumer consumer : either) {
                TextMessage message = (TextMessage) consumer.receive(Jms.NOTHING_MS);
                if (message != null) {
                    return told(message);
                }
            }
        }
        return "nothing";
    }

    private static String told(TextMessage message) throws JMSException {
        if (message == null) {
            return "nothing";
        }
        boolean first = message.propertyExists("JMSXGroupFirstForConsumer")
            && message.getBooleanProperty("JMSXGroupFirstForConsumer");
        return message.getText() + (first ? " first" : "") + " " + message.getStringProperty("JMSXGroupID")
            + " " + message.getIntProperty("JMSXGroupSeq");
    }
}
