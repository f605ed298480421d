import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.TreeSet;
import javax.jms.Connection;
import javax.jms.JMSException;
import javax.jms.MessageConsumer;
import javax.jms.Queue;
import javax.jms.Session;
import javax.jms.Topic;
import javax.jms.XAConnection;
import javax.jms.XASession;
import javax.transaction.xa.XAException;
import javax.transaction.xa.XAResource;
import javax.transaction.xa.Xid;
import org.apache.activemq.ActiveMQXAConnectionFactory;

/**
 * Distributed transactions. Arguments: url, and what to do: `steps` (if nothing), `prepare`, or an outcome of
 * what an earlier run prepared: `commit`, `rollback`; `follow` and an outcome does all that in one run.
 */
public final class Branches {
    private static final String PREFIX = "interop.branches.";

    public static void main(String[] arguments) throws Exception {
        String what = arguments.length > 1 ? arguments[1] : "steps";
        if (what.equals("steps")) {
            steps(arguments[0]);
        } else if (what.equals("prepare")) {
            prepare(arguments[0]);
        } else if (what.equals("follow")) {
            follow(arguments[0], arguments[2].equals("commit"));
        } else {
            recover(arguments[0], what.equals("commit"));
        }
    }

    /** A branch's id: equal ones have equal texts. */
    private static final class Id implements Xid {
        private final String name;

        Id(String name) {
            this.name = name;
        }

        @Override
        public int getFormatId() {
            return 7;
        }

        @Override
        public byte[] getGlobalTransactionId() {
            return name.getBytes(StandardCharsets.UTF_8);
        }

        @Override
        public byte[] getBranchQualifier() {
            return new byte[] {0, (byte) 200};
        }
    }

    /** One client's side of branches. */
    private static final class Client implements AutoCloseable {
        final XAConnection connection;
        final XASession session;
        final XAResource resource;

        Client(String url, String clientId) throws JMSException {
            connection = new ActiveMQXAConnectionFactory("admin", "admin", url).createXAConnection();
            if (clientId != null) {
                connection.setClientID(clientId);
            }
            connection.start();
            session = connection.createXASession();
            resource = session.getXAResource();
        }

        /** Sends texts in a branch, and ends it. */
        void send(Id id, String queue, String... texts) throws Exception {
            resource.start(id, XAResource.TMNOFLAGS);
            Jms.sendTexts(session, session.createQueue(PREFIX + queue), texts);
            resource.end(id, XAResource.TMSUCCESS);
        }

        /** Takes one message in a branch, and ends it. */
        String take(Id id, String queue) throws Exception {
            MessageConsumer consumer = session.createConsumer(session.createQueue(PREFIX + queue));
            resource.start(id, XAResource.TMNOFLAGS);
            String taken = Jms.receive(consumer);
            resource.end(id, XAResource.TMSUCCESS);
            consumer.close();
            return taken;
        }

        /** The branches of these programs that are prepared. */
        String prepared() throws XAException {
            TreeSet<String> names = new TreeSet<>();
            for (Xid each : resource.recover(XAResource.TMSTARTRSCAN | XAResource.TMENDRSCAN)) {
                names.add(new String(each.getGlobalTransactionId(), StandardCharsets.UTF_8)
                    + Arrays.toString(each.getBranchQualifier()));
            }
            return names.toString();
        }

        @Override
        public void close() throws JMSException {
            connection.close();
        }
    }

    private interface Step {
        Object run() throws Exception;
    }

    /** What it returns, or the code that it is refused with. */
    private static Object outcome(Step step) throws Exception {
        try {
            return step.run();
        } catch (XAException refused) {
            return "error " + refused.errorCode;
        }
    }

    private static Object commit(Client client, Id id, boolean onePhase) throws Exception {
        return outcome(() -> {
            client.resource.commit(id, onePhase);
            return "committed";
        });
    }

    private static Object rollback(Client client, Id id) throws Exception {
        return outcome(() -> {
            client.resource.rollback(id);
            return "rolled back";
        });
    }

    private static String left(String url, String queue) throws JMSException {
        Connection connection = Jms.connect(url);
        Session session = connection.createSession(false, Session.AUTO_ACKNOWLEDGE);
        MessageConsumer consumer = session.createConsumer(session.createQueue(PREFIX + queue));
        StringBuilder found = new StringBuilder();
        for (String each = Jms.receive(consumer, 1_000); !each.equals("nothing"); each = Jms.receiveNothing(consumer)) {
            found.append(each.split(" ")[0]).append(' ');
        }
        connection.close();
        return found.length() == 0 ? "nothing" : found.toString().trim();
    }

    private static void steps(String url) throws Exception {
        try (Client client = new Client(url, null); Client other = new Client(url, null)) {
            Id sent = new Id("sent");
            client.send(sent, "sent", "1", "2");
            Jms.fact("prepared", client.resource.prepare(sent));
            Jms.fact("waiting for an outcome", other.prepared());
            Jms.fact("seen before it", left(url, "sent"));
            Jms.fact("by another connection", commit(other, sent, false));
            Jms.fact("seen after it", left(url, "sent"));
            Jms.fact("once more", commit(other, sent, false));
            Jms.fact("waiting afterwards", other.prepared());

            Id nothing = new Id("nothing");
            client.resource.start(nothing, XAResource.TMNOFLAGS);
            client.resource.end(nothing, XAResource.TMSUCCESS);
            Jms.fact("nothing done, prepared", client.resource.prepare(nothing));

            Id quick = new Id("quick");
            client.send(quick, "quick", "3");
            Jms.fact("not prepared, in two phases", commit(client, quick, false));
            Jms.fact("in one phase", commit(client, quick, true));
            Jms.fact("seen then", left(url, "quick"));

            Id undone = new Id("undone");
            client.send(undone, "undone", "4");
            Jms.fact("not prepared", rollback(client, undone));
            client.send(undone, "undone", "5");
            client.resource.prepare(undone);
            Jms.fact("prepared, then", rollback(other, undone));
            Jms.fact("seen of it", left(url, "undone"));
            Jms.fact("unknown, committed", commit(client, new Id("unknown"), false));
            Jms.fact("unknown, rolled back", rollback(client, new Id("unknown")));
        }
        taken(url);
    }

    /** Messages that a branch has taken, and whose taker is gone. */
    private static void taken(String url) throws Exception {
        Connection connection = Jms.connect(url);
        Session session = connection.createSession(false, Session.AUTO_ACKNOWLEDGE);
        Jms.sendTexts(session, session.createQueue(PREFIX + "taken"), "6", "7");
        connection.close();
        Id taken = new Id("taken");
        try (Client client = new Client(url, null)) {
            Jms.fact("taken", client.take(taken, "taken"));
            Jms.fact("prepared by its taker", client.resource.prepare(taken));
        }
        Jms.fact("left for others", left(url, "taken"));
        try (Client client = new Client(url, null)) {
            Jms.fact("its taker is gone, committed", commit(client, taken, false));
        }
        Jms.fact("left at last", left(url, "taken"));
        Id lost = new Id("lost");
        try (Client client = new Client(url, null)) {
            client.send(lost, "lost", "8");
        }
        try (Client client = new Client(url, null)) {
            Jms.fact("never prepared, its client is gone", commit(client, lost, true));
        }
    }

    /** Moves a message between queues, for a durable subscriber too, and dies when the branch is prepared. */
    private static void prepare(String url) throws Exception {
        Client client = new Client(url, "branches");
        Jms.fact("prepared", client.resource.prepare(move(client, url)));
        Runtime.getRuntime().halt(0);
    }

    private static Id move(Client client, String url) throws Exception {
        Connection setup = Jms.connect(url);
        Session plain = setup.createSession(false, Session.AUTO_ACKNOWLEDGE);
        Topic topic = client.session.createTopic(PREFIX + "topic");
        Queue from = plain.createQueue(PREFIX + "from");
        MessageConsumer subscriber = client.session.createDurableSubscriber(topic, "s");
        Jms.sendTexts(plain, from, "moved", "stays");
        plain.createProducer(topic).send(plain.createTextMessage("published"));
        setup.close();
        MessageConsumer consumer = client.session.createConsumer(from);
        Id id = new Id("moving");
        client.resource.start(id, XAResource.TMNOFLAGS);
        Jms.fact("taken", Jms.receive(consumer) + ", " + Jms.receive(subscriber));
        Jms.sendTexts(client.session, client.session.createQueue(PREFIX + "to"), "moved");
        client.session.createProducer(topic).send(client.session.createTextMessage("inside"));
        client.resource.end(id, XAResource.TMSUCCESS);
        return id;
    }

    /** Another process decides about it. */
    private static void recover(String url, boolean commit) throws Exception {
        try (Client client = new Client(url, "branches")) {
            Jms.fact("prepared", client.prepared());
            Id id = new Id("moving");
            Jms.fact("outcome", commit ? commit(client, id, false) : rollback(client, id));
            Jms.fact("prepared afterwards", client.prepared());
        }
        show(url);
    }

    /** One process goes on, whatever becomes of its broker; it waits for a line before each of two steps. */
    private static void follow(String url, boolean commit) throws Exception {
        try (Client client = new Client(url, "branches")) {
            Id id = move(client, url);
            Jms.fact("ended", true);
            System.in.read(new byte[100]);
            Jms.fact("prepared", client.resource.prepare(id));
            System.in.read(new byte[100]);
            Jms.fact("waiting", client.prepared());
            Jms.fact("outcome", commit ? commit(client, id, false) : rollback(client, id));
            Jms.fact("prepared afterwards", client.prepared());
        }
        show(url);
    }

    private static void show(String url) throws Exception {
        Connection connection = Jms.factory(url).createConnection();
        connection.setClientID("branches");
        connection.start();
        Session plain = connection.createSession(false, Session.AUTO_ACKNOWLEDGE);
        MessageConsumer subscriber = plain.createDurableSubscriber(plain.createTopic(PREFIX + "topic"), "s");
        String published = Jms.receive(subscriber).split(" ")[0];
        Jms.fact("subscriber", published + ", " + Jms.receiveNothing(subscriber));
        connection.close();
        Jms.fact("from", left(url, "from"));
        Jms.fact("to", left(url, "to"));
    }
}
