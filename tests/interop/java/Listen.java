import javax.jms.Connection;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.Session;

/** Tells what it hears on a topic of advisories, until standard input closes. Arguments: URL, topic. */
public final class Listen {
    public static void main(String[] arguments) throws Exception {
        Connection connection = Jms.connect(arguments[0]);
        Session session = connection.createSession(false, Session.AUTO_ACKNOWLEDGE);
        MessageConsumer consumer = session.createConsumer(session.createTopic(arguments[1]));
        consumer.setMessageListener(Listen::tell);
        Jms.fact("listening", true);
        while (System.in.read() != -1) {
            continue;
        }
        connection.close();
    }

    private static void tell(Message message) {
        try {
            Jms.fact("heard", Advisories.described(message) + " " + message.getIntProperty("consumerCount"));
        } catch (Exception failure) {
            throw new IllegalStateException(failure);
        }
    }
}
