import java.util.ArrayList;
import java.util.Enumeration;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import javax.jms.Connection;
import javax.jms.DeliveryMode;
import javax.jms.Destination;
import javax.jms.JMSException;
import javax.jms.MapMessage;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Queue;
import javax.jms.QueueConnection;
import javax.jms.QueueRequestor;
import javax.jms.QueueSession;
import javax.jms.Session;
import javax.jms.StreamMessage;
import javax.jms.TemporaryQueue;
import javax.jms.TemporaryTopic;
import javax.jms.TextMessage;
import javax.jms.Topic;
import javax.jms.TopicSubscriber;

/** Rules of the JMS specification that no other program here is about, one or two facts for each. */
public final class Rules {
    private static String url;
    private static Connection connection;
    private static Session session;

    public static void main(String[] arguments) throws Exception {
        url = arguments[0];
        connection = Jms.factory(url).createConnection();
        connection.setClientID("rules");
        connections();
        session = connection.createSession(false, Session.AUTO_ACKNOWLEDGE);
        headers();
        properties();
        bodies();
        order();
        expiry();
        listeners();
        sessions();
        closing();
        temporary();
        durable();
        noLocal();
        requestor();
        destinations();
        connection.close();
    }

    private interface Call {
        void run() throws Exception;
    }

    private static String refusal(Call call) {
        try {
            call.run();
            return "taken";
        } catch (Exception refused) {
            return refused.getClass().getSimpleName();
        }
    }

    private static void connections() throws Exception {
        Session before = connection.createSession(false, Session.AUTO_ACKNOWLEDGE);
        Queue queue = before.createQueue("interop.rules.start");
        MessageConsumer consumer = before.createConsumer(queue);
        Jms.sendTexts(before, queue, "1", "2", "3");
        Jms.fact("before start", Jms.receiveNothing(consumer));
        connection.start();
        Jms.fact("after start", Jms.receive(consumer));
        connection.stop();
        Jms.fact("after stop", Jms.receiveNothing(consumer));
        connection.start();
        Jms.fact("started again", Jms.receive(consumer));
        Jms.fact("and the next", Jms.receive(consumer));
        Jms.fact("client id after use", refusal(() -> connection.setClientID("other")));
        Jms.fact("major version", connection.getMetaData().getJMSMajorVersion());
        before.close();
        before.close();
        Jms.fact("a closed session", refusal(() -> before.createTextMessage("x")));
        Jms.fact("a closed consumer", refusal(() -> consumer.receive(1)));
    }

    private static void headers() throws JMSException {
        Queue queue = session.createQueue("interop.rules.headers");
        MessageConsumer consumer = session.createConsumer(queue);
        MessageProducer producer = session.createProducer(queue);
        TextMessage message = session.createTextMessage("headers");
        message.setJMSDeliveryMode(DeliveryMode.NON_PERSISTENT);
        message.setJMSPriority(1);
        message.setJMSExpiration(1);
        message.setJMSTimestamp(1);
        message.setJMSMessageID("ID:mine");
        message.setJMSDestination(session.createQueue("elsewhere"));
        message.setJMSCorrelationID("c-1");
        message.setJMSType("a type");
        message.setJMSReplyTo(session.createTopic("interop.rules.answers"));
        producer.send(message, DeliveryMode.PERSISTENT, 6, 100_000);
        Message got = consumer.receive(Jms.WAIT_MS);
        Jms.fact("send sets mode, priority, destination", got.getJMSDeliveryMode() + " " + got.getJMSPriority()
            + " " + got.getJMSDestination());
        Jms.fact("send sets id and times", got.getJMSMessageID().startsWith("ID:")
            && !got.getJMSMessageID().equals("ID:mine") && got.getJMSTimestamp() > 1
            && got.getJMSExpiration() == got.getJMSTimestamp() + 100_000);
        Jms.fact("the sender sees them", message.getJMSMessageID().equals(got.getJMSMessageID())
            && message.getJMSPriority() == 6);
        Jms.fact("the program's own", got.getJMSCorrelationID() + " " + got.getJMSType() + " "
            + got.getJMSReplyTo() + " " + got.getJMSRedelivered());
        producer.setDisableMessageTimestamp(true);
        producer.send(session.createTextMessage("no time"));
        Jms.fact("no timestamp", consumer.receive(Jms.WAIT_MS).getJMSTimestamp());
        Set<String> ids = new HashSet<>();
        for (int i = 0; i < 50; i++) {
            Message each = session.createTextMessage("id");
            producer.send(each);
            ids.add(each.getJMSMessageID());
        }
        Jms.fact("ids differ", ids.size());
        Jms.fact("defaults", session.createProducer(queue).getDeliveryMode() + " "
            + session.createProducer(queue).getPriority() + " " + session.createProducer(queue).getTimeToLive());
        Jms.fact("a bad priority", refusal(() -> producer.send(message, DeliveryMode.PERSISTENT, 10, 0)));
        consumer.close();
        drain(queue);
    }

    private static void properties() throws JMSException {
        Queue queue = session.createQueue("interop.rules.properties");
        MessageConsumer consumer = session.createConsumer(queue);
        TextMessage message = session.createTextMessage("properties");
        message.setIntProperty("number", 7);
        message.setStringProperty("nothing", null);
        message.setObjectProperty("object", Long.valueOf(8));
        Jms.fact("no property", refusal(() -> message.setObjectProperty("list", new Object[0])));
        Jms.fact("no name", refusal(() -> message.setStringProperty("", "x")));
        session.createProducer(queue).send(message);
        Message got = consumer.receive(Jms.WAIT_MS);
        Jms.fact("converted", got.getStringProperty("number") + " " + got.getLongProperty("number") + " "
            + refusal(() -> got.getByteProperty("number")) + " " + got.getObjectProperty("object"));
        Jms.fact("null and missing", got.propertyExists("nothing") + " " + got.getStringProperty("nothing") + " "
            + got.propertyExists("missing") + " " + got.getObjectProperty("missing"));
        Jms.fact("read only", refusal(() -> got.setIntProperty("number", 8)));
        got.clearProperties();
        got.setIntProperty("number", 8);
        Jms.fact("cleared", got.getIntProperty("number") + " " + got.propertyExists("object"));
        Jms.fact("delivery count", got.getIntProperty("JMSXDeliveryCount"));
        Set<String> names = new HashSet<>();
        for (Enumeration<?> each = connection.getMetaData().getJMSXPropertyNames(); each.hasMoreElements(); ) {
            names.add((String) each.nextElement());
        }
        Jms.fact("JMSX", names.containsAll(List.of("JMSXGroupID", "JMSXGroupSeq", "JMSXDeliveryCount")));
        consumer.close();
    }

    private static void bodies() throws JMSException {
        Queue queue = session.createQueue("interop.rules.bodies");
        MessageConsumer consumer = session.createConsumer(queue);
        MessageProducer producer = session.createProducer(queue);
        TextMessage text = session.createTextMessage("first");
        producer.send(text);
        text.setText("second");
        producer.send(text);
        TextMessage got = (TextMessage) consumer.receive(Jms.WAIT_MS);
        Jms.fact("a message may be sent again", got.getText() + " "
            + ((TextMessage) consumer.receive(Jms.WAIT_MS)).getText());
        Jms.fact("read only body", refusal(() -> got.setText("x")));
        got.clearBody();
        got.setText("changed");
        producer.send(got);
        Jms.fact("forwarded", ((TextMessage) consumer.receive(Jms.WAIT_MS)).getText());
        MapMessage map = session.createMapMessage();
        map.setInt("i", 1);
        map.setBytes("b", new byte[] {1, 2});
        map.setString("none", null);
        producer.send(map);
        MapMessage entries = (MapMessage) consumer.receive(Jms.WAIT_MS);
        Jms.fact("a map", entries.getString("i") + " " + entries.getBytes("b").length + " "
            + entries.itemExists("none") + " " + entries.getObject("unknown"));
        StreamMessage stream = session.createStreamMessage();
        stream.writeLong(5);
        stream.writeString("six");
        producer.send(stream);
        StreamMessage values = (StreamMessage) consumer.receive(Jms.WAIT_MS);
        Jms.fact("a stream", values.readLong() + " " + values.readString() + " " + refusal(values::readInt));
        consumer.close();
    }

    private static void order() throws JMSException {
        Queue queue = session.createQueue("interop.rules.order");
        Session other = connection.createSession(false, Session.AUTO_ACKNOWLEDGE);
        MessageProducer producer = session.createProducer(queue);
        for (int i = 0; i < 40; i++) {
            producer.setDeliveryMode(i % 2 == 0 ? DeliveryMode.PERSISTENT : DeliveryMode.NON_PERSISTENT);
            producer.send(session.createTextMessage(String.valueOf(i)));
        }
        MessageConsumer consumer = other.createConsumer(queue);
        int even = 0;
        int odd = 1;
        boolean ordered = true;
        for (int i = 0; i < 40; i++) {
            int got = Integer.parseInt(((TextMessage) consumer.receive(Jms.WAIT_MS)).getText());
            ordered &= got == (got % 2 == 0 ? even : odd);
            even += got % 2 == 0 ? 2 : 0;
            odd += got % 2 == 0 ? 0 : 2;
        }
        Jms.fact("order within a mode", ordered);
        other.close();
    }

    private static void expiry() throws Exception {
        Queue queue = session.createQueue("interop.rules.expiry");
        MessageProducer producer = session.createProducer(queue);
        producer.setTimeToLive(1);
        producer.send(session.createTextMessage("short"));
        producer.setTimeToLive(0);
        producer.send(session.createTextMessage("long"));
        Thread.sleep(50);
        MessageConsumer consumer = session.createConsumer(queue);
        Jms.fact("what has expired is not delivered", Jms.receive(consumer));
        consumer.close();
    }

    private static void listeners() throws Exception {
        Queue queue = session.createQueue("interop.rules.listeners");
        Session listening = connection.createSession(false, Session.AUTO_ACKNOWLEDGE);
        List<String> heard = new ArrayList<>();
        Set<Thread> threads = new HashSet<>();
        CountDownLatch all = new CountDownLatch(4);
        for (int i = 0; i < 2; i++) {
            MessageConsumer consumer = listening.createConsumer(queue);
            consumer.setMessageListener(message -> {
                synchronized (heard) {
                    threads.add(Thread.currentThread());
                    try {
                        heard.add(((TextMessage) message).getText());
                    } catch (JMSException failure) {
                        throw new IllegalStateException(failure);
                    }
                }
                all.countDown();
            });
            Jms.fact("receive with a listener " + i, refusal(() -> consumer.receive(1)));
        }
        Jms.sendTexts(session, queue, "1", "2", "3", "4");
        Jms.fact("heard by the listeners", all.await(Jms.WAIT_MS, TimeUnit.MILLISECONDS));
        listening.close();
        CountDownLatch twice = new CountDownLatch(2);
        Session failing = connection.createSession(false, Session.AUTO_ACKNOWLEDGE);
        List<Boolean> redelivered = new ArrayList<>();
        failing.createConsumer(queue).setMessageListener(message -> {
            try {
                redelivered.add(message.getJMSRedelivered());
            } catch (JMSException failure) {
                throw new IllegalStateException(failure);
            }
            twice.countDown();
            if (twice.getCount() > 0) {
                throw new IllegalArgumentException("a listener that fails");
            }
        });
        Jms.sendTexts(session, queue, "again");
        twice.await(Jms.WAIT_MS, TimeUnit.MILLISECONDS);
        Jms.fact("a listener that fails gets it again", redelivered);
        failing.close();
    }

    private static void sessions() throws Exception {
        Session transacted = connection.createSession(true, Session.SESSION_TRANSACTED);
        Jms.fact("transacted", transacted.getTransacted() + " " + transacted.getAcknowledgeMode());
        Jms.fact("commit without a transaction", refusal(session::commit));
        Jms.fact("rollback without a transaction", refusal(session::rollback));
        Jms.fact("recover in a transaction", refusal(transacted::recover));
        Queue queue = session.createQueue("interop.rules.sessions");
        transacted.createProducer(queue).send(transacted.createTextMessage("lost"));
        transacted.close();
        MessageConsumer consumer = session.createConsumer(queue);
        Jms.fact("closing rolls back", Jms.receiveNothing(consumer));
        consumer.close();
        Session client = connection.createSession(false, Session.CLIENT_ACKNOWLEDGE);
        Jms.sendTexts(session, queue, "1", "2", "3");
        MessageConsumer acknowledging = client.createConsumer(queue);
        acknowledging.receive(Jms.WAIT_MS);
        acknowledging.receive(Jms.WAIT_MS).acknowledge();
        acknowledging.receive(Jms.WAIT_MS);
        client.close();
        MessageConsumer rest = session.createConsumer(queue);
        Jms.fact("one acknowledgement for all before", Jms.receive(rest) + "; " + Jms.receiveNothing(rest));
        rest.close();
    }

    private static void closing() throws Exception {
        Connection other = Jms.connect(url);
        Session waiting = other.createSession(false, Session.AUTO_ACKNOWLEDGE);
        MessageConsumer consumer = waiting.createConsumer(waiting.createQueue("interop.rules.closing"));
        List<Object> got = new ArrayList<>();
        Thread thread = new Thread(() -> got.add(refusal(() -> got.add(consumer.receive()))));
        thread.start();
        while (thread.getState() == Thread.State.RUNNABLE) {
            Thread.sleep(10);
        }
        other.close();
        thread.join(Jms.WAIT_MS);
        Jms.fact("a receive ends with its connection", got);
        Jms.fact("a closed connection", refusal(() -> other.createSession(false, Session.AUTO_ACKNOWLEDGE)));
    }

    private static void temporary() throws Exception {
        TemporaryQueue queue = session.createTemporaryQueue();
        TemporaryTopic topic = session.createTemporaryTopic();
        MessageConsumer consumer = session.createConsumer(queue);
        MessageConsumer subscriber = session.createConsumer(topic);
        session.createProducer(queue).send(session.createTextMessage("to the queue"));
        session.createProducer(topic).send(session.createTextMessage("to the topic"));
        Jms.fact("temporary", Jms.receive(consumer) + "; " + Jms.receive(subscriber));
        Jms.fact("deleted in use", refusal(queue::delete));
        consumer.close();
        subscriber.close();
        Jms.fact("deleted", refusal(queue::delete) + " " + refusal(topic::delete));
        Jms.fact("sent after that", !refusal(() -> send(session, queue)).equals("taken"));
    }

    private static void send(Session sender, Destination destination) throws JMSException {
        MessageProducer producer = sender.createProducer(destination);
        producer.send(sender.createTextMessage("x"));
    }

    private static void durable() throws JMSException {
        Topic topic = session.createTopic("interop.rules.durable");
        TopicSubscriber subscriber = session.createDurableSubscriber(topic, "one", "n > 1", false);
        Jms.fact("a second one of the name", refusal(() -> session.createDurableSubscriber(topic, "one")));
        Jms.fact("unsubscribed in use", refusal(() -> session.unsubscribe("one")));
        subscriber.close();
        MessageProducer producer = session.createProducer(topic);
        for (int i = 1; i <= 3; i++) {
            TextMessage message = session.createTextMessage(String.valueOf(i));
            message.setIntProperty("n", i);
            producer.send(message);
        }
        TopicSubscriber again = session.createDurableSubscriber(topic, "one", "n > 1", false);
        Jms.fact("selected while away", Jms.receive(again) + "; " + Jms.receive(again) + "; "
            + Jms.receiveNothing(again));
        again.close();
        send(session, topic);
        TopicSubscriber changed = session.createDurableSubscriber(topic, "one", "n > 2", false);
        Jms.fact("another selector is another subscription", Jms.receiveNothing(changed));
        changed.close();
        session.unsubscribe("one");
        Jms.fact("unsubscribed again", refusal(() -> session.unsubscribe("one")));
    }

    private static void noLocal() throws JMSException {
        Topic topic = session.createTopic("interop.rules.local");
        MessageConsumer deaf = session.createConsumer(topic, null, true);
        MessageConsumer hearing = session.createConsumer(topic);
        session.createProducer(topic).send(session.createTextMessage("own"));
        Jms.fact("own messages", Jms.receive(hearing) + "; " + Jms.receiveNothing(deaf));
        deaf.close();
        hearing.close();
    }

    private static void requestor() throws Exception {
        QueueConnection asking = Jms.factory(url).createQueueConnection();
        asking.start();
        QueueSession questions = asking.createQueueSession(false, Session.AUTO_ACKNOWLEDGE);
        Queue queue = session.createQueue("interop.rules.questions");
        Session answering = connection.createSession(false, Session.AUTO_ACKNOWLEDGE);
        answering.createConsumer(queue).setMessageListener(message -> {
            try {
                answering.createProducer(message.getJMSReplyTo()).send(answering.createTextMessage("an answer"));
            } catch (JMSException failure) {
                throw new IllegalStateException(failure);
            }
        });
        QueueRequestor requestor = new QueueRequestor(questions, queue);
        Jms.fact("requestor", ((TextMessage) requestor.request(session.createTextMessage("?"))).getText());
        requestor.close();
        asking.close();
        answering.close();
    }

    private static void destinations() throws JMSException {
        MessageProducer any = session.createProducer(null);
        Queue queue = session.createQueue("interop.rules.any");
        any.send(queue, session.createTextMessage("named with the send"));
        MessageConsumer consumer = session.createConsumer(queue);
        Jms.fact("a producer of no destination", Jms.receive(consumer));
        Jms.fact("and none with the send", refusal(() -> any.send(session.createTextMessage("x"))));
        MessageProducer one = session.createProducer(queue);
        Jms.fact("another than its own", refusal(() -> one.send(session.createQueue("x"), session.createMessage())));
        Jms.fact("an invalid selector", refusal(() -> session.createConsumer(queue, "a ==")));
        Jms.fact("no destination", refusal(() -> session.createConsumer(null)));
        consumer.close();
    }

    private static void drain(Queue queue) throws JMSException {
        MessageConsumer consumer = session.createConsumer(queue);
        while (consumer.receive(Jms.NOTHING_MS) != null) {
            continue;
        }
        consumer.close();
    }
}
