import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import javax.jms.Connection;
import javax.jms.DeliveryMode;
import javax.jms.JMSException;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Queue;
import javax.jms.Session;
import javax.jms.TextMessage;

/**
 * What policies of single queues make of the same clients.
 * Arguments: url; any other: try a queue that refuses, too.
 */
public final class Policies {
    private static final int LENGTH = 10_000;
    private static Session session;
    private static String url;

    public static void main(String[] arguments) throws Exception {
        url = arguments[0];
        Connection connection = Jms.connect(url);
        session = connection.createSession(false, Session.AUTO_ACKNOWLEDGE);
        exclusiveByDefault();
        strictOrder();
        consumersBeforeStart();
        pullByPolicy();
        if (arguments.length > 1) {
            refusedWhereItIsFull();
        }
        blockedWhereItIsFull();
        connection.close();
    }

    private static void exclusiveByDefault() throws JMSException {
        Queue queue = session.createQueue("interop.policies.exclusive");
        MessageConsumer first = session.createConsumer(queue);
        MessageConsumer second = session.createConsumer(queue);
        Jms.sendTexts(session, queue, "1", "2", "3");
        Jms.fact("exclusive by default, first", take(first, 3));
        Jms.fact("exclusive by default, second", Jms.receiveNothing(second));
        first.close();
        Jms.sendTexts(session, queue, "4");
        Jms.fact("exclusive by default, afterwards", take(second, 1));
        second.close();
    }

    private static void strictOrder() throws JMSException {
        Queue queue = session.createQueue("interop.policies.strict?consumer.prefetchSize=2");
        MessageConsumer first = session.createConsumer(queue);
        MessageConsumer second = session.createConsumer(queue);
        Jms.sendTexts(session, session.createQueue("interop.policies.strict"), "1", "2", "3", "4");
        Jms.fact("strict order, second", take(second, 2));
        Jms.fact("strict order, first", take(first, 2));
        first.close();
        second.close();
    }

    private static void consumersBeforeStart() throws JMSException {
        Queue queue = session.createQueue("interop.policies.starting");
        Jms.sendTexts(session, queue, "1", "2", "3", "4");
        MessageConsumer first = session.createConsumer(queue);
        Jms.fact("one consumer of two", Jms.receiveNothing(first));
        MessageConsumer second = session.createConsumer(queue);
        String both = take(first, 2) + " " + take(second, 2);
        Jms.fact("both of two", both.length() == 7 && !both.contains("nothing"));
        first.close();
        second.close();
    }

    private static void pullByPolicy() throws JMSException {
        Queue queue = session.createQueue("interop.policies.pull");
        MessageConsumer idle = session.createConsumer(queue);
        MessageConsumer busy = session.createConsumer(queue);
        Jms.sendTexts(session, queue, "1", "2", "3");
        Jms.fact("pulled", take(busy, 3));
        Jms.fact("nothing to pull", Jms.receiveNothing(idle));
        idle.close();
        busy.close();
    }

    private static void refusedWhereItIsFull() throws JMSException {
        Connection connection = sending();
        Session sender = connection.createSession(false, Session.AUTO_ACKNOWLEDGE);
        MessageProducer producer = sender.createProducer(sender.createQueue("interop.policies.refusing"));
        producer.setDeliveryMode(DeliveryMode.NON_PERSISTENT);
        String refused = "nothing";
        for (int i = 0; i < 100 && refused.equals("nothing"); i++) {
            try {
                producer.send(sender.createTextMessage("x".repeat(LENGTH)));
            } catch (JMSException error) {
                refused = error.getClass().getName();
            }
        }
        Jms.fact("refused where it is full", refused);
        MessageProducer other = sender.createProducer(sender.createQueue("interop.policies.other"));
        other.setDeliveryMode(DeliveryMode.NON_PERSISTENT);
        other.send(sender.createTextMessage("through"));
        Jms.fact("not refused elsewhere", true);
        connection.close();
        drain("interop.policies.refusing");
        drain("interop.policies.other");
    }

    private static void blockedWhereItIsFull() throws Exception {
        Connection connection = sending();
        CountDownLatch sent = new CountDownLatch(60);
        Thread thread = new Thread(() -> send(connection, sent));
        thread.start();
        for (long before = -1; before != sent.getCount() || before == 60; Thread.sleep(500)) {
            before = sent.getCount();
        }
        Jms.fact("blocked where it is full", sent.getCount() > 0 && thread.isAlive());
        Jms.sendTexts(session, session.createQueue("interop.policies.other"), "through");
        Jms.fact("not blocked elsewhere", drain("interop.policies.other"));
        int received = 0;
        MessageConsumer consumer = session.createConsumer(session.createQueue("interop.policies.blocking"));
        while (received < 60 && consumer.receive(Jms.WAIT_MS) != null) {
            received++;
        }
        consumer.close();
        Jms.fact("received in the end", received);
        Jms.fact("sent in the end", sent.await(Jms.WAIT_MS, TimeUnit.MILLISECONDS));
        connection.close();
    }

    private static void send(Connection connection, CountDownLatch sent) {
        try {
            Session sender = connection.createSession(false, Session.AUTO_ACKNOWLEDGE);
            MessageProducer producer = sender.createProducer(sender.createQueue("interop.policies.blocking"));
            producer.setDeliveryMode(DeliveryMode.NON_PERSISTENT);
            while (sent.getCount() > 0) {
                producer.send(sender.createTextMessage("x".repeat(LENGTH)));
                sent.countDown();
            }
        } catch (JMSException failure) {
            throw new IllegalStateException(failure);
        }
    }

    /** A connection each of whose sends is answered. */
    private static Connection sending() throws JMSException {
        return Jms.connect(url + "?jms.alwaysSyncSend=true");
    }

    private static int drain(String queue) throws JMSException {
        MessageConsumer consumer = session.createConsumer(session.createQueue(queue));
        int count = 0;
        while (consumer.receive(Jms.NOTHING_MS) != null) {
            count++;
        }
        consumer.close();
        return count;
    }

    private static String take(MessageConsumer consumer, int count) throws JMSException {
        List<String> texts = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            Message message = consumer.receive(Jms.WAIT_MS);
            texts.add(message == null ? "nothing" : ((TextMessage) message).getText());
        }
        return String.join(" ", texts);
    }
}
