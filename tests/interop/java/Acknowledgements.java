import javax.jms.Connection;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.Queue;
import javax.jms.Session;
import javax.jms.TextMessage;
import org.apache.activemq.ActiveMQSession;

/** What each acknowledgement mode leaves in the queue, and how it comes again. */
public final class Acknowledgements {
    public static void main(String[] arguments) throws Exception {
        String url = arguments[0];
        everyMessageOnce(url, "automatic", Session.AUTO_ACKNOWLEDGE);
        everyMessageOnce(url, "duplicates allowed", Session.DUPS_OK_ACKNOWLEDGE);
        clientAcknowledge(url);
        individualAcknowledge(url);
        recover(url);
    }

    private static void everyMessageOnce(String url, String name, int mode) throws Exception {
        String queueName = "interop.acknowledge." + mode;
        Connection connection = Jms.connect(url);
        Session session = connection.createSession(false, mode);
        Queue queue = session.createQueue(queueName);
        Jms.sendTexts(session, queue, "1", "2", "3");
        MessageConsumer consumer = session.createConsumer(queue);
        Jms.fact(name, Jms.receive(consumer) + ", " + Jms.receive(consumer) + ", " + Jms.receive(consumer));
        connection.close();
        Jms.fact(name + ", afterwards", afterwards(url, queueName));
    }

    private static void clientAcknowledge(String url) throws Exception {
        String queueName = "interop.acknowledge.client";
        Connection connection = Jms.connect(url);
        Session session = connection.createSession(false, Session.CLIENT_ACKNOWLEDGE);
        Queue queue = session.createQueue(queueName);
        Jms.sendTexts(session, queue, "1", "2", "3", "4");
        MessageConsumer consumer = session.createConsumer(queue);
        consumer.receive(Jms.WAIT_MS);
        Message second = consumer.receive(Jms.WAIT_MS);
        second.acknowledge();
        Jms.fact("client, not acknowledged", Jms.receive(consumer));
        connection.close();
        Jms.fact("client, afterwards", afterwards(url, queueName));
    }

    private static void individualAcknowledge(String url) throws Exception {
        String queueName = "interop.acknowledge.individual";
        Connection connection = Jms.connect(url);
        Session session = connection.createSession(false, ActiveMQSession.INDIVIDUAL_ACKNOWLEDGE);
        Queue queue = session.createQueue(queueName);
        Jms.sendTexts(session, queue, "1", "2", "3");
        MessageConsumer consumer = session.createConsumer(queue);
        consumer.receive(Jms.WAIT_MS);
        Message second = consumer.receive(Jms.WAIT_MS);
        consumer.receive(Jms.WAIT_MS);
        second.acknowledge();
        connection.close();
        Jms.fact("individual, afterwards", afterwards(url, queueName));
    }

    private static void recover(String url) throws Exception {
        Connection connection = Jms.connect(url);
        Session session = connection.createSession(false, Session.CLIENT_ACKNOWLEDGE);
        Queue queue = session.createQueue("interop.acknowledge.recover");
        Jms.sendTexts(session, queue, "1", "2");
        MessageConsumer consumer = session.createConsumer(queue);
        Jms.fact("before recover", Jms.receive(consumer));
        session.recover();
        Jms.fact("after recover", Jms.receive(consumer));
        Message last = consumer.receive(Jms.WAIT_MS);
        last.acknowledge();
        Jms.fact("last", ((TextMessage) last).getText());
        connection.close();
        Jms.fact("recover, afterwards", afterwards(url, "interop.acknowledge.recover"));
    }

    /** Everything a new connection still finds, in its order. */
    private static String afterwards(String url, String queueName) throws Exception {
        Connection connection = Jms.connect(url);
        Session session = connection.createSession(false, Session.AUTO_ACKNOWLEDGE);
        MessageConsumer consumer = session.createConsumer(session.createQueue(queueName));
        StringBuilder found = new StringBuilder();
        for (String text = Jms.receiveNothing(consumer); !text.equals("nothing"); text = Jms.receiveNothing(consumer)) {
            found.append(text).append("; ");
        }
        connection.close();
        return found.append("nothing").toString();
    }
}
