import javax.jms.Connection;
import javax.jms.IllegalStateException;
import javax.jms.JMSException;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Queue;
import javax.jms.Session;
import javax.jms.TextMessage;
import org.apache.activemq.ActiveMQConnectionFactory;

/** What every program needs: a started connection, a queue of its own, and facts printed one a line. */
final class Jms {
    static final long WAIT_MS = 30_000;
    static final long NOTHING_MS = 300;

    static {
        // A program that failed must end, although its connections' threads live on.
        Thread.setDefaultUncaughtExceptionHandler((thread, failure) -> {
            failure.printStackTrace();
            System.exit(1);
        });
    }

    private Jms() {}

    static ActiveMQConnectionFactory factory(String url) {
        return new ActiveMQConnectionFactory("admin", "admin", url);
    }

    static Connection connect(String url) throws JMSException {
        Connection connection = factory(url).createConnection();
        connection.start();
        return connection;
    }

    /** The programs say what they saw; the test knows what it must be. */
    static void fact(String name, Object value) {
        System.out.println(name + ": " + value);
        System.out.flush();
    }

    static void sendTexts(Session session, Queue queue, String... texts) throws JMSException {
        MessageProducer producer = session.createProducer(queue);
        for (String text : texts) {
            producer.send(session.createTextMessage(text));
        }
        producer.close();
    }

    /** The text, `nothing` after a wait, with the redelivery marks that it carries. */
    static String receive(MessageConsumer consumer, long wait_ms) throws JMSException {
        Message message = consumer.receive(wait_ms);
        if (message == null) {
            return "nothing";
        }
        String again = message.getJMSRedelivered() ? " redelivered" : "";
        return ((TextMessage) message).getText() + again + " (delivery "
            + message.getIntProperty("JMSXDeliveryCount") + ")";
    }

    static String receive(MessageConsumer consumer) throws JMSException {
        return receive(consumer, WAIT_MS);
    }

    static String receiveNothing(MessageConsumer consumer) throws JMSException {
        return receive(consumer, NOTHING_MS);
    }

    /** Whether the broker closes a consumer, in time. */
    static String closed(MessageConsumer consumer) throws JMSException, InterruptedException {
        long end = System.currentTimeMillis() + WAIT_MS;
        while (System.currentTimeMillis() < end) {
            try {
                consumer.getMessageSelector();
            } catch (IllegalStateException gone) {
                return "closed";
            }
            Thread.sleep(20);
        }
        return "open";
    }
}
