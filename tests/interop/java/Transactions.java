import javax.jms.Connection;
import javax.jms.MessageConsumer;
import javax.jms.Queue;
import javax.jms.Session;

/** Local transactions: sends and acknowledgements take effect together, or not at all. */
public final class Transactions {
    public static void main(String[] arguments) throws Exception {
        Connection connection = Jms.connect(arguments[0]);
        Session transacted = connection.createSession(true, Session.SESSION_TRANSACTED);
        Session watching = connection.createSession(false, Session.AUTO_ACKNOWLEDGE);
        Queue queue = transacted.createQueue("interop.transactions");
        MessageConsumer watcher = watching.createConsumer(queue);

        Jms.sendTexts(transacted, queue, "1", "2");
        Jms.fact("before commit", Jms.receiveNothing(watcher));
        transacted.commit();
        Jms.fact("after commit", Jms.receive(watcher) + ", " + Jms.receive(watcher));
        Jms.sendTexts(transacted, queue, "rolled back");
        transacted.rollback();
        Jms.fact("after rollback", Jms.receiveNothing(watcher));
        watcher.close();

        Jms.sendTexts(watching, queue, "3", "4");
        MessageConsumer consumer = transacted.createConsumer(queue);
        Jms.fact("received", Jms.receive(consumer) + ", " + Jms.receive(consumer));
        transacted.rollback();
        Jms.fact("received again", Jms.receive(consumer) + ", " + Jms.receive(consumer));
        transacted.commit();
        consumer.close();
        MessageConsumer last = watching.createConsumer(queue);
        Jms.fact("left", Jms.receiveNothing(last));
        last.close();

        moved(transacted, watching);
        connection.close();
    }

    /** Consume from one queue and send to another in one transaction. */
    private static void moved(Session transacted, Session watching) throws Exception {
        Queue from = watching.createQueue("interop.transactions.from");
        Queue onward = watching.createQueue("interop.transactions.onward");
        Jms.sendTexts(watching, from, "moved");
        MessageConsumer consumer = transacted.createConsumer(from);
        consumer.receive(Jms.WAIT_MS);
        Jms.sendTexts(transacted, onward, "moved");
        transacted.commit();
        consumer.close();
        MessageConsumer fromConsumer = watching.createConsumer(from);
        MessageConsumer onwardConsumer = watching.createConsumer(onward);
        Jms.fact("moved", Jms.receiveNothing(fromConsumer) + ", " + Jms.receive(onwardConsumer));
    }
}
