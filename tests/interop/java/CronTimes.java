import java.util.TimeZone;
import org.apache.activemq.broker.scheduler.CronParser;

/**
 * When Apache's parser of cron expressions says that they are due next, in UTC.
 * Arguments: a time in milliseconds, then expressions; prints the minute of each, or what it throws.
 */
public final class CronTimes {
    public static void main(String[] arguments) {
        TimeZone.setDefault(TimeZone.getTimeZone("UTC"));
        long after_ms = Long.parseLong(arguments[0]);
        for (int i = 1; i < arguments.length; i++) {
            Jms.fact(arguments[i], due(arguments[i], after_ms));
        }
    }

    private static String due(String expression, long after_ms) {
        try {
            CronParser.validate(expression);
            return Long.toString(CronParser.getNextScheduledTime(expression, after_ms) / 60_000);
        } catch (Exception refusal) {
            return "refused";
        }
    }
}
