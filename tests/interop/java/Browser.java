import java.util.Collections;
import java.util.Enumeration;
import javax.jms.Connection;
import javax.jms.MessageConsumer;
import javax.jms.Queue;
import javax.jms.QueueBrowser;
import javax.jms.Session;
import javax.jms.TextMessage;

/** A browser sees the queue in order and takes nothing. */
public final class Browser {
    public static void main(String[] arguments) throws Exception {
        Connection connection = Jms.connect(arguments[0]);
        Session session = connection.createSession(false, Session.AUTO_ACKNOWLEDGE);
        Queue queue = session.createQueue("interop.browser");
        Jms.fact("empty", browse(session, queue));
        Jms.sendTexts(session, queue, "1", "2", "3");
        Jms.fact("browsed", browse(session, queue));
        Jms.fact("browsed again", browse(session, queue));
        MessageConsumer consumer = session.createConsumer(queue);
        Jms.fact("taken", Jms.receive(consumer) + ", " + Jms.receive(consumer) + ", " + Jms.receive(consumer));
        connection.close();
    }

    private static String browse(Session session, Queue queue) throws Exception {
        QueueBrowser browser = session.createBrowser(queue);
        StringBuilder seen = new StringBuilder();
        Enumeration<?> messages = browser.getEnumeration();
        for (Object message : Collections.list(messages)) {
            seen.append(((TextMessage) message).getText()).append(' ');
        }
        browser.close();
        return seen.append("end").toString();
    }
}
