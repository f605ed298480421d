import javax.jms.JMSException;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.Queue;
import javax.jms.Session;
import javax.jms.TextMessage;
import org.apache.activemq.ActiveMQConnection;

/** The broker delivers again what is given up; and how often a message was delivered is told. */
public final class Redeliveries {
    private static ActiveMQConnection connection;

    public static void main(String[] arguments) throws Exception {
        connection = (ActiveMQConnection) Jms.factory(arguments[0]).createConnection();
        connection.start();
        byTheBroker();
        counted();
        connection.close();
    }

    private static void byTheBroker() throws JMSException {
        connection.getRedeliveryPolicy().setMaximumRedeliveries(0);
        Session session = connection.createSession(true, Session.SESSION_TRANSACTED);
        Queue queue = session.createQueue("interop.redelivery");
        Jms.sendTexts(session, queue, "bad", "good");
        session.commit();
        MessageConsumer consumer = session.createConsumer(queue);
        Jms.fact("first", Jms.receive(consumer));
        session.rollback();
        Jms.fact("not held up", Jms.receive(consumer));
        session.commit();
        for (int i = 2; i <= 3; i++) {
            long before = System.currentTimeMillis();
            Jms.fact("again", Jms.receive(consumer));
            Jms.fact("later", System.currentTimeMillis() - before > 400);
            session.rollback();
        }
        Jms.fact("not again", Jms.receive(consumer, 1_500));
        MessageConsumer dead = session.createConsumer(session.createQueue("ActiveMQ.DLQ"));
        Message letter = dead.receive(Jms.WAIT_MS);
        Jms.fact("dead", letter == null ? "nothing" : ((TextMessage) letter).getText());
        session.commit();
        session.close();
    }

    private static void counted() throws JMSException {
        connection.getRedeliveryPolicy().setMaximumRedeliveries(6);
        connection.getRedeliveryPolicy().setInitialRedeliveryDelay(0);
        connection.getRedeliveryPolicy().setRedeliveryDelay(0);
        Session sending = connection.createSession(false, Session.AUTO_ACKNOWLEDGE);
        Queue queue = sending.createQueue("interop.redelivery.counted");
        Jms.sendTexts(sending, queue, "1", "2");
        for (int i = 0; i < 2; i++) {
            Session session = connection.createSession(false, Session.CLIENT_ACKNOWLEDGE);
            Jms.fact("closed after", Jms.receive(session.createConsumer(queue)));
            session.close();
        }
        Session session = connection.createSession(true, Session.SESSION_TRANSACTED);
        MessageConsumer consumer = session.createConsumer(queue);
        Jms.fact("rolled back", Jms.receive(consumer));
        session.rollback();
        Jms.fact("rolled back", Jms.receive(consumer));
        consumer.close();
        session.rollback();
        consumer = session.createConsumer(queue);
        Jms.fact("in the end", Jms.receive(consumer) + ", " + Jms.receive(consumer));
        session.commit();
        session.close();
    }
}
