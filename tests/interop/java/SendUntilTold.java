import java.io.IOException;
import javax.jms.Connection;
import javax.jms.MessageProducer;
import javax.jms.Session;

/**
 * Sends numbered persistent messages and prints each number once its send is acknowledged, until standard input
 * has something to read. Arguments: url, queue, pause between two sends in ms.
 */
public final class SendUntilTold {
    public static void main(String[] arguments) throws Exception {
        Connection connection = Jms.connect(arguments[0]);
        Session session = connection.createSession(false, Session.AUTO_ACKNOWLEDGE);
        MessageProducer producer = session.createProducer(session.createQueue(arguments[1]));
        long pause_ms = Long.parseLong(arguments[2]);
        int number = 0;
        while (!told()) {
            producer.send(session.createTextMessage(Integer.toString(number)));
            Jms.fact("acknowledged", number);
            number++;
            Thread.sleep(pause_ms);
        }
        connection.close();
        Jms.fact("sent", number);
    }

    private static boolean told() throws IOException {
        return System.in.available() > 0;
    }
}
