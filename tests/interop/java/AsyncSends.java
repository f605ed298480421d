import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import javax.jms.Connection;
import javax.jms.JMSException;
import javax.jms.MessageConsumer;
import javax.jms.Queue;
import javax.jms.Session;
import javax.jms.TextMessage;
import org.apache.activemq.ActiveMQConnectionFactory;
import org.apache.activemq.ActiveMQMessageProducer;
import org.apache.activemq.AsyncCallback;

/** Sends without waiting: useAsyncSend, and sends that call back when they are acknowledged. */
public final class AsyncSends {
    private static final int COUNT = 500;

    public static void main(String[] arguments) throws Exception {
        ActiveMQConnectionFactory factory = Jms.factory(arguments[0]);
        factory.setUseAsyncSend(true);
        Connection connection = factory.createConnection();
        connection.start();
        Session session = connection.createSession(false, Session.AUTO_ACKNOWLEDGE);
        Queue queue = session.createQueue("interop.async");
        ActiveMQMessageProducer producer = (ActiveMQMessageProducer) session.createProducer(queue);
        for (int i = 0; i < COUNT; i++) {
            producer.send(session.createTextMessage(Integer.toString(i)));
        }
        Jms.fact("sent without waiting, in order", inOrder(session, queue));

        CountDownLatch open = new CountDownLatch(COUNT);
        AtomicInteger acknowledged = new AtomicInteger();
        for (int i = 0; i < COUNT; i++) {
            producer.send(session.createTextMessage(Integer.toString(i)), new AsyncCallback() {
                @Override
                public void onSuccess() {
                    acknowledged.incrementAndGet();
                    open.countDown();
                }

                @Override
                public void onException(JMSException failure) {
                    open.countDown();
                }
            });
        }
        open.await(Jms.WAIT_MS, TimeUnit.MILLISECONDS);
        Jms.fact("called back", acknowledged.get());
        Jms.fact("sent with call-back, in order", inOrder(session, queue));
        connection.close();
    }

    private static int inOrder(Session session, Queue queue) throws JMSException {
        MessageConsumer consumer = session.createConsumer(queue);
        int next = 0;
        while (next < COUNT) {
            TextMessage message = (TextMessage) consumer.receive(Jms.WAIT_MS);
            if (message == null || !message.getText().equals(Integer.toString(next))) {
                break;
            }
            next++;
        }
        consumer.close();
        return next;
    }
}
