import javax.jms.Connection;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.Session;
import javax.jms.TextMessage;

/** Receives all that a queue holds, until nothing came for a second. Arguments: url, queue. */
public final class Drain {
    public static void main(String[] arguments) throws Exception {
        Connection connection = Jms.connect(arguments[0]);
        Session session = connection.createSession(false, Session.AUTO_ACKNOWLEDGE);
        MessageConsumer consumer = session.createConsumer(session.createQueue(arguments[1]));
        for (Message message = consumer.receive(Jms.WAIT_MS); message != null; message = consumer.receive(1_000)) {
            Jms.fact("received", ((TextMessage) message).getText());
        }
        connection.close();
    }
}
