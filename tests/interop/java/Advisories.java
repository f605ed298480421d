import java.util.ArrayList;
import java.util.Collections;
import java.util.Enumeration;
import java.util.List;
import javax.jms.JMSException;
import javax.jms.Message;
import org.apache.activemq.command.ActiveMQDestination;
import org.apache.activemq.command.ActiveMQMessage;
import org.apache.activemq.command.DataStructure;

/** What programs print of advisories. */
final class Advisories {
    private Advisories() {}

    static String structure(Message message) {
        DataStructure structure = ((ActiveMQMessage) message).getDataStructure();
        return structure == null ? "nothing" : structure.getClass().getSimpleName();
    }

    /** Topic, structure, and the names of the properties. */
    static String described(Message message) throws JMSException {
        if (message == null) {
            return "nothing";
        }
        List<String> names = new ArrayList<>();
        Enumeration<?> found = message.getPropertyNames();
        while (found.hasMoreElements()) {
            String name = found.nextElement().toString();
            if (!name.startsWith("originBroker") && !name.startsWith("JMSX")) {
                names.add(name);
            }
        }
        Collections.sort(names);
        boolean origin = message.propertyExists("originBrokerId") && message.propertyExists("originBrokerName")
            && message.getStringProperty("originBrokerURL").startsWith("tcp://");
        String topic = ((ActiveMQDestination) message.getJMSDestination()).getPhysicalName();
        return topic.replace("ActiveMQ.Advisory.", "") + " " + structure(message) + " " + names + (origin ? "" : " from nowhere");
    }
}
