import java.net.URI;
import javax.jms.Connection;
import javax.jms.JMSException;
import javax.jms.MessageConsumer;
import javax.jms.Session;
import org.apache.activemq.command.ActiveMQDestination;
import org.apache.activemq.command.ActiveMQQueue;
import org.apache.activemq.command.ActiveMQTextMessage;
import org.apache.activemq.command.Command;
import org.apache.activemq.command.ConnectionId;
import org.apache.activemq.command.ConnectionInfo;
import org.apache.activemq.command.ConsumerId;
import org.apache.activemq.command.ConsumerInfo;
import org.apache.activemq.command.DestinationInfo;
import org.apache.activemq.command.ExceptionResponse;
import org.apache.activemq.command.LocalTransactionId;
import org.apache.activemq.command.MessageAck;
import org.apache.activemq.command.MessageId;
import org.apache.activemq.command.ProducerId;
import org.apache.activemq.command.ProducerInfo;
import org.apache.activemq.command.RemoveInfo;
import org.apache.activemq.command.SessionId;
import org.apache.activemq.command.SessionInfo;
import org.apache.activemq.command.TransactionInfo;
import org.apache.activemq.transport.DefaultTransportListener;
import org.apache.activemq.transport.Transport;
import org.apache.activemq.transport.TransportFactory;
import org.apache.activemq.util.ByteSequence;

/**
 * What a broker answers to commands that no honest client sends, said straight to its transport; after all of
 * them it serves others, and the same connection, as before.
 */
public final class Mistakes {
    private static final ActiveMQQueue QUEUE = new ActiveMQQueue("interop.mistakes");
    private static final ConnectionInfo CONNECTION = connection("ID:mistakes:1");
    private static final SessionInfo SESSION = new SessionInfo(CONNECTION, 1);
    private static Transport transport;

    public static void main(String[] arguments) throws Exception {
        String url = arguments[0];
        transport = TransportFactory.connect(new URI(url));
        transport.setTransportListener(new DefaultTransportListener());
        transport.start();
        answer("log in", CONNECTION);
        answer("open a session", SESSION);
        clientIds(url);
        foreignIds();
        transactions();
        acknowledgements();
        destinations();
        properties(url);
        answer("log out", new RemoveInfo(CONNECTION.getConnectionId()));
        transport.stop();
    }

    private static void clientIds(String url) throws JMSException {
        Connection first = Jms.factory(url).createConnection();
        first.setClientID("mistaken");
        first.start();
        Connection second = Jms.factory(url).createConnection();
        try {
            second.setClientID("mistaken");
            second.start();
            Jms.fact("client id in use", "taken");
        } catch (JMSException refused) {
            Jms.fact("client id in use", refused.getClass().getName());
        }
        second.close();
        first.close();
    }

    private static void foreignIds() throws Exception {
        ConnectionId other = new ConnectionId("ID:others:1");
        answer("a consumer of another connection",
            consumer(new ConsumerId(new SessionId(other, 1), 1), QUEUE));
        answer("a consumer of no session",
            consumer(new ConsumerId(new SessionId(CONNECTION.getConnectionId(), 9), 1), QUEUE));
        answer("a producer of another connection", producer(new SessionId(other, 1)));
        answer("a producer of no session", producer(new SessionId(CONNECTION.getConnectionId(), 9)));
        answer("end a session of another connection", new RemoveInfo(new SessionId(other, 1)));
    }

    private static void transactions() throws Exception {
        LocalTransactionId unknown = new LocalTransactionId(CONNECTION.getConnectionId(), 7);
        answer("commit of an unknown transaction",
            new TransactionInfo(CONNECTION.getConnectionId(), unknown, TransactionInfo.COMMIT_ONE_PHASE));
        answer("rollback of an unknown transaction",
            new TransactionInfo(CONNECTION.getConnectionId(), unknown, TransactionInfo.ROLLBACK));
        ProducerInfo producer = producer(SESSION.getSessionId());
        answer("a producer", producer);
        ActiveMQTextMessage message = message(producer.getProducerId(), 1, "in no transaction");
        message.setTransactionId(unknown);
        answer("a message of an unknown transaction", message);
        answer("no producer any more", new RemoveInfo(producer.getProducerId()));
    }

    private static void acknowledgements() throws Exception {
        ConsumerInfo consumer = consumer(new ConsumerId(SESSION.getSessionId(), 1), QUEUE);
        answer("a consumer", consumer);
        MessageId never = new MessageId(new ProducerId(SESSION.getSessionId(), 5), 5);
        MessageAck ack = new MessageAck();
        ack.setConsumerId(consumer.getConsumerId());
        ack.setDestination(QUEUE);
        ack.setAckType(MessageAck.STANDARD_ACK_TYPE);
        ack.setFirstMessageId(never);
        ack.setLastMessageId(never);
        ack.setMessageCount(1);
        answer("acknowledge what never came", ack);
        ack.setConsumerId(new ConsumerId(SESSION.getSessionId(), 8));
        answer("acknowledge for no consumer", ack);
        answer("close the consumer", new RemoveInfo(consumer.getConsumerId()));
    }

    private static void destinations() throws Exception {
        ActiveMQDestination foreign = ActiveMQDestination.createDestination(
            "temp-queue://ID:others:1:1", ActiveMQDestination.TEMP_QUEUE_TYPE);
        ProducerInfo producer = producer(SESSION.getSessionId());
        answer("a producer again", producer);
        ActiveMQTextMessage message = message(producer.getProducerId(), 1, "to nobody");
        message.setDestination(foreign);
        answer("send to a temporary queue that is gone", message);
        answer("delete what does not exist",
            new DestinationInfo(CONNECTION.getConnectionId(), DestinationInfo.REMOVE_OPERATION_TYPE,
                new ActiveMQQueue("interop.mistakes.none")));
        answer("no producer once more", new RemoveInfo(producer.getProducerId()));
    }

    /** Properties that are none disturb neither a consumer with a selector nor the messages behind them. */
    private static void properties(String url) throws Exception {
        ProducerInfo producer = producer(SESSION.getSessionId());
        answer("one more producer", producer);
        ActiveMQTextMessage bad = message(producer.getProducerId(), 1, "bad properties");
        bad.setMarshalledProperties(new ByteSequence(new byte[] {0, 0, 0, 1, 0, 1, 'a', 99, 1, 2}));
        answer("properties that are none", bad);
        ActiveMQTextMessage good = message(producer.getProducerId(), 2, "good properties");
        good.setStringProperty("colour", "red");
        answer("good properties", good);
        Connection connection = Jms.connect(url);
        Session session = connection.createSession(false, Session.AUTO_ACKNOWLEDGE);
        MessageConsumer red = session.createConsumer(session.createQueue("interop.mistakes"), "colour = 'red'");
        Jms.fact("by a selector", Jms.receive(red));
        connection.close();
    }

    private static void answer(String what, Command command) throws Exception {
        command.setResponseRequired(true);
        Object response = transport.request(command, (int) Jms.WAIT_MS);
        if (response instanceof ExceptionResponse) {
            Jms.fact(what, ((ExceptionResponse) response).getException().getClass().getName());
        } else {
            Jms.fact(what, response == null ? "no answer" : "taken");
        }
    }

    private static ConnectionInfo connection(String id) {
        ConnectionInfo info = new ConnectionInfo(new ConnectionId(id));
        info.setClientId(id);
        info.setUserName("admin");
        info.setPassword("admin");
        return info;
    }

    private static ConsumerInfo consumer(ConsumerId id, ActiveMQDestination destination) {
        ConsumerInfo info = new ConsumerInfo(id);
        info.setDestination(destination);
        info.setPrefetchSize(10);
        return info;
    }

    private static ProducerInfo producer(SessionId session) {
        return new ProducerInfo(new ProducerId(session, 1));
    }

    private static ActiveMQTextMessage message(ProducerId producer, long sequence, String text) throws JMSException {
        ActiveMQTextMessage message = new ActiveMQTextMessage();
        message.setProducerId(producer);
        message.setMessageId(new MessageId(producer, sequence));
        message.setDestination(QUEUE);
        message.setPersistent(true);
        message.setText(text);
        return message;
    }
}
