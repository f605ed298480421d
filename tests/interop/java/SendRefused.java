import javax.jms.Connection;
import javax.jms.JMSException;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Queue;
import javax.jms.Session;

/** Sends until the broker refuses, in and outside of a transaction; makes space and goes on. Arguments: url. */
public final class SendRefused {
    private static final int COUNT = 1_000;
    private static final int LENGTH = 10_000;

    public static void main(String[] arguments) throws Exception {
        Connection connection = Jms.connect(arguments[0]);
        Session session = connection.createSession(false, Session.AUTO_ACKNOWLEDGE);
        Queue queue = session.createQueue("interop.refused");
        MessageProducer producer = session.createProducer(queue);
        String text = "x".repeat(LENGTH);
        int sent = 0;
        try {
            for (; sent < COUNT; sent++) {
                producer.send(session.createTextMessage(text));
            }
        } catch (JMSException refusal) {
            Jms.fact("refused", refusal.getClass().getName());
            Jms.fact("names the limit", refusal.getMessage().contains("storeUsage"));
        }
        Jms.fact("some were sent", sent > 0);

        Session transacted = connection.createSession(true, Session.SESSION_TRANSACTED);
        transacted.createProducer(queue).send(transacted.createTextMessage(text));
        try {
            transacted.commit();
        } catch (JMSException refusal) {
            Jms.fact("commit refused", refusal.getClass().getSimpleName());
        }

        MessageConsumer consumer = session.createConsumer(queue);
        int received = 0;
        while (received < sent && consumer.receive(Jms.WAIT_MS) != null) {
            received++;
        }
        Jms.fact("received all that were sent", received == sent && consumer.receive(Jms.NOTHING_MS) == null);
        producer.send(session.createTextMessage("again"));
        Jms.fact("sent again", Jms.receive(consumer));
        connection.close();
    }
}
