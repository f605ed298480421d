// mqtt from npm at work: what it saw is printed, one fact a line, as the Java programs do.
//
// Arguments: what to do, then the URL to connect to. `basics` ends when it is done, `numbers` when standard input
// closes.
"use strict";

const mqtt = require("mqtt");

function fact(name, value) {
    process.stdout.write(`${name}: ${value}\n`);
}

function client(url, options) {
    return mqtt.connect(url, { username: "admin", password: "admin", reconnectPeriod: 100, ...options });
}

function next(from, what) {
    return new Promise((resolve) => from.once(what, (...values) => resolve(values)));
}

async function basics(url) {
    for (const version of [4, 5]) {
        const it = client(url, { protocolVersion: version, clientId: `js-basics-${version}` });
        await next(it, "connect");
        for (const qos of [0, 1, 2]) {
            const topic = `js/${version}/${qos}`;
            await it.subscribeAsync(topic, { qos });
            const arrived = next(it, "message");
            await it.publishAsync(topic, `grüße ${qos}`, { qos });
            const [name, payload, packet] = await arrived;
            fact("message", `${name} ${payload} ${packet.qos} ${packet.retain}`);
        }
        await it.publishAsync(`js/kept/${version}`, Buffer.from([0, 255]), { qos: 1, retain: true });
        const kept = next(it, "message");
        await it.subscribeAsync(`js/kept/${version}`, { qos: 1 });
        const [, bytes, packet] = await kept;
        fact("kept", `${[...bytes]} ${packet.retain}`);
        if (version === 5) {
            await it.subscribeAsync("js/props", { qos: 1, properties: { subscriptionIdentifier: 7 } });
            const arrived = next(it, "message");
            const properties = { responseTopic: "re/ply", correlationData: Buffer.from([1]), userProperties: { a: ["1", "2"] } };
            await it.publishAsync("js/props", "x", { qos: 1, properties });
            const [, , found] = await arrived;
            const { responseTopic, correlationData, userProperties, subscriptionIdentifier } = found.properties;
            fact("properties", `${responseTopic} ${[...correlationData]} ${userProperties.a} ${subscriptionIdentifier}`);
        }
        await it.endAsync();
    }
    const wrong = client(url, { protocolVersion: 5, password: "wrong", reconnectPeriod: 0 });
    const [error] = await next(wrong, "error");
    fact("refused", error.code);
    await wrong.endAsync(true);
}

// Publishes so many numbers with QoS 2, however often the broker is replaced, and prints what comes back.
async function numbers(url, count) {
    const session = { clean: false, protocolVersion: 5, properties: { sessionExpiryInterval: 3600 } };
    const subscriber = client(url, { ...session, clientId: "js-sub" });
    subscriber.on("message", (_topic, payload) => fact("got", payload));
    await next(subscriber, "connect");
    await subscriber.subscribeAsync("js/numbers", { qos: 2 });
    const publisher = client(url, { ...session, clientId: "js-pub" });
    await next(publisher, "connect");
    for (let number = 0; number < count; number++) {
        await publisher.publishAsync("js/numbers", `${number}`, { qos: 2 });
        fact("confirmed", number);
    }
    fact("done", count);
    process.stdin.resume();
    await next(process.stdin, "end");
    await Promise.all([publisher.endAsync(), subscriber.endAsync()]);
}

const [what, url, count] = process.argv.slice(2);
const work = what === "basics" ? basics(url) : numbers(url, Number(count));
work.catch((error) => {
    process.stderr.write(`${error.stack}\n`);
    process.exit(1);
});
