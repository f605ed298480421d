import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CyclicBarrier;
import javax.jms.BytesMessage;
import javax.jms.Connection;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Session;
import org.apache.activemq.ActiveMQConnectionFactory;

/**
 * Durable messages a second. Producers, each with a connection of its own, send persistent messages to one queue for
 * a time. Asynchronous ones end with one synchronous send: a broker answers it when all before it are on disk too.
 * Transacted ones commit a hundred sends at a time, and so does then the consumer.
 * At last one consumer takes everything out again. Prints what it counted.
 *
 * Arguments: url, queue, producers, sync|async|transacted, seconds, bytes.
 */
public final class Load {
    private static final long RECEIVE_MS = 20_000;
    private static final int TRANSACTION = 100;

    public static void main(String[] arguments) throws Exception {
        String url = arguments[0];
        String queue = arguments[1];
        int producers = Integer.parseInt(arguments[2]);
        boolean async = arguments[3].equals("async");
        boolean transacted = arguments[3].equals("transacted");
        long duration_ns = (long) (Double.parseDouble(arguments[4]) * 1e9);
        byte[] body = new byte[Integer.parseInt(arguments[5])];
        ActiveMQConnectionFactory factory = Jms.factory(url);
        factory.setUseAsyncSend(async);

        List<Producer> running = new ArrayList<>();
        CyclicBarrier together = new CyclicBarrier(producers);
        for (int i = 0; i < producers; i++) {
            running.add(new Producer(factory, queue, body, duration_ns, async, transacted, together));
        }
        running.forEach(Thread::start);
        long sent = 0;
        long start_ns = Long.MAX_VALUE;
        long end_ns = Long.MIN_VALUE;
        long[] latencies_ns = new long[0];
        for (Producer producer : running) {
            producer.join();
            if (producer.failure != null) {
                throw producer.failure;
            }
            sent += producer.sent;
            start_ns = Math.min(start_ns, producer.start_ns);
            end_ns = Math.max(end_ns, producer.end_ns);
            int before = latencies_ns.length;
            latencies_ns = Arrays.copyOf(latencies_ns, before + producer.latencyCount);
            System.arraycopy(producer.latencies_ns, 0, latencies_ns, before, producer.latencyCount);
        }
        System.out.println("sent: " + sent);
        System.out.println("send seconds: " + (end_ns - start_ns) / 1e9);
        if (!async) {
            Arrays.sort(latencies_ns);
            System.out.println("send ms 50 %: " + latencies_ns[latencies_ns.length / 2] / 1e6);
            System.out.println("send ms 99 %: " + latencies_ns[(int) (latencies_ns.length * 0.99)] / 1e6);
        }
        drain(factory, queue, sent, transacted);
    }

    private static void drain(ActiveMQConnectionFactory factory, String queue, long sent, boolean transacted)
        throws Exception {
        Connection connection = factory.createConnection();
        connection.start();
        Session session = connection.createSession(transacted, Session.AUTO_ACKNOWLEDGE);
        MessageConsumer consumer = session.createConsumer(session.createQueue(queue));
        long received = 0;
        long start_ns = System.nanoTime();
        while (received < sent) {
            Message message = consumer.receive(RECEIVE_MS);
            if (message == null) {
                break;
            }
            received++;
            if (transacted && received % TRANSACTION == 0) {
                session.commit();
            }
        }
        System.out.println("received: " + received);
        System.out.println("receive seconds: " + (System.nanoTime() - start_ns) / 1e9);
        connection.close();
    }

    /** One producer: counts what is certainly stored when it ends. */
    private static final class Producer extends Thread {
        private final ActiveMQConnectionFactory factory;
        private final String queue;
        private final byte[] body;
        private final long duration_ns;
        private final boolean async;
        private final boolean transacted;
        private final CyclicBarrier together;
        long sent;
        long start_ns;
        long end_ns;
        long[] latencies_ns = new long[1024];
        int latencyCount;
        Exception failure;

        Producer(ActiveMQConnectionFactory factory, String queue, byte[] body, long duration_ns, boolean async,
            boolean transacted, CyclicBarrier together) {
            this.factory = factory;
            this.queue = queue;
            this.body = body;
            this.duration_ns = duration_ns;
            this.async = async;
            this.transacted = transacted;
            this.together = together;
        }

        @Override
        public void run() {
            try {
                send();
            } catch (Exception broken) {
                failure = broken;
                together.reset();
            }
        }

        private void send() throws Exception {
            org.apache.activemq.ActiveMQConnection connection =
                (org.apache.activemq.ActiveMQConnection) factory.createConnection();
            connection.start();
            Session session = connection.createSession(transacted, Session.AUTO_ACKNOWLEDGE);
            MessageProducer producer = session.createProducer(session.createQueue(queue));
            together.await();
            start_ns = System.nanoTime();
            long deadline_ns = start_ns + duration_ns;
            for (long now_ns = start_ns; now_ns < deadline_ns; now_ns = remember(now_ns)) {
                producer.send(message(session));
                sent++;
                if (transacted && sent % TRANSACTION == 0) {
                    session.commit();
                }
            }
            if (transacted) {
                sent -= sent % TRANSACTION;
                session.rollback();
            }
            if (async) {
                connection.setUseAsyncSend(false);
                producer.send(message(session));
                sent++;
            }
            end_ns = System.nanoTime();
            connection.close();
        }

        private BytesMessage message(Session session) throws Exception {
            BytesMessage message = session.createBytesMessage();
            message.writeBytes(body);
            return message;
        }

        private long remember(long before_ns) {
            long now_ns = System.nanoTime();
            if (!async) {
                if (latencyCount == latencies_ns.length) {
                    latencies_ns = Arrays.copyOf(latencies_ns, 2 * latencyCount);
                }
                latencies_ns[latencyCount++] = now_ns - before_ns;
            }
            return now_ns;
        }
    }
}
