import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import javax.jms.Connection;
import javax.jms.DeliveryMode;
import javax.jms.JMSException;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Queue;
import javax.jms.Session;

/**
 * A producer with a window to a queue whose memory is used up: it waits, and everything else on its connection
 * goes on.
 */
public final class Windows {
    private static final int COUNT = 60;

    public static void main(String[] arguments) throws Exception {
        Connection connection = Jms.connect(arguments[0] + "?jms.producerWindowSize=50000&jms.useAsyncSend=true");
        CountDownLatch sent = new CountDownLatch(COUNT);
        Thread thread = new Thread(() -> send(connection, sent));
        thread.start();
        for (long before = -1; before != sent.getCount() || before == COUNT; Thread.sleep(500)) {
            before = sent.getCount();
        }
        Jms.fact("waits for its window", sent.getCount() > 0 && thread.isAlive());
        Session session = connection.createSession(false, Session.AUTO_ACKNOWLEDGE);
        Queue other = session.createQueue("interop.windows.other");
        Jms.sendTexts(session, other, "elsewhere");
        MessageConsumer elsewhere = session.createConsumer(other);
        Jms.fact("on the same connection", Jms.receive(elsewhere));
        MessageConsumer consumer = session.createConsumer(session.createQueue("interop.policies.windows"));
        int received = 0;
        while (received < COUNT && consumer.receive(Jms.WAIT_MS) != null) {
            received++;
        }
        Jms.fact("received in the end", received);
        Jms.fact("sent in the end", sent.await(Jms.WAIT_MS, TimeUnit.MILLISECONDS));
        connection.close();
    }

    private static void send(Connection connection, CountDownLatch sent) {
        try {
            Session session = connection.createSession(false, Session.AUTO_ACKNOWLEDGE);
            MessageProducer producer = session.createProducer(session.createQueue("interop.policies.windows"));
            producer.setDeliveryMode(DeliveryMode.NON_PERSISTENT);
            while (sent.getCount() > 0) {
                producer.send(session.createTextMessage("x".repeat(10_000)));
                sent.countDown();
            }
        } catch (JMSException failure) {
            throw new IllegalStateException(failure);
        }
    }
}
