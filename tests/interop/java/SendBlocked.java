import java.util.concurrent.atomic.AtomicInteger;
import javax.jms.Connection;
import javax.jms.JMSException;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Queue;
import javax.jms.Session;
import javax.jms.TextMessage;

/**
 * A producer that the broker blocks, and a consumer that frees it, on one connection or on two.
 * Arguments: url, queue, connections.
 */
public final class SendBlocked {
    private static final int COUNT = 60;
    private static final int LENGTH = 10_000;
    private static final long QUIET_MS = 500;

    public static void main(String[] arguments) throws Exception {
        Connection sending = Jms.connect(arguments[0]);
        Connection receiving = arguments[2].equals("1") ? sending : Jms.connect(arguments[0]);
        AtomicInteger sent = new AtomicInteger();
        Thread thread = new Thread(() -> send(sending, arguments[1], sent));
        thread.start();
        for (int before = -1; before != sent.get() || before == 0; Thread.sleep(QUIET_MS)) {
            before = sent.get();
        }
        Jms.fact("blocked before the end", sent.get() < COUNT && thread.isAlive());

        Session session = receiving.createSession(false, Session.AUTO_ACKNOWLEDGE);
        MessageConsumer consumer = session.createConsumer(session.createQueue(arguments[1]));
        int next = 0;
        while (next < COUNT) {
            TextMessage message = (TextMessage) consumer.receive(Jms.WAIT_MS);
            if (message == null || message.getIntProperty("number") != next) {
                break;
            }
            next++;
        }
        thread.join(Jms.WAIT_MS);
        Jms.fact("sent in the end", sent.get());
        Jms.fact("received, in order", next);
        sending.close();
        receiving.close();
    }

    private static void send(Connection connection, String name, AtomicInteger sent) {
        try {
            Session session = connection.createSession(false, Session.AUTO_ACKNOWLEDGE);
            Queue queue = session.createQueue(name);
            MessageProducer producer = session.createProducer(queue);
            for (int i = 0; i < COUNT; i++) {
                TextMessage message = session.createTextMessage("x".repeat(LENGTH));
                message.setIntProperty("number", i);
                producer.send(message);
                sent.incrementAndGet();
            }
        } catch (JMSException failure) {
            throw new IllegalStateException(failure);
        }
    }
}
