// rhea at work: what it saw is printed, one fact a line, as the Java programs do.
//
// Arguments: what to do, then the places to connect to. A place is a port on this host, or the URL of a WebSocket.
// `basics` ends when it is done. `numbers` sends numbers and takes them, by way of whichever broker serves, until
// standard input closes. `token` takes one port, a user, a token and a queue.
"use strict";

const rhea = require("rhea");
const WebSocket = require("ws");

function fact(name, value) {
    process.stdout.write(`${name}: ${value}\n`);
}

function connect(places, options = {}) {
    const container = rhea.create_container({ id: options.id });
    const overWebSocket = container.websocket_connect(WebSocket);
    let next = 0;
    function details() {
        const place = places[next++ % places.length];
        return /^[0-9]+$/.test(place) ? { host: "127.0.0.1", port: Number(place) } : overWebSocket(place, ["AMQPWSB10"])();
    }
    return container.connect({
        username: "admin",
        password: "admin",
        initial_reconnect_delay: 20,
        max_reconnect_delay: 200,
        connection_details: details,
    });
}

function event(emitter, name) {
    return new Promise((resolve) => emitter.once(name, resolve));
}

async function send(sender, message) {
    if (!sender.sendable()) await event(sender, "sendable");
    const delivery = sender.send({ durable: true, ...message });
    await new Promise((resolve, reject) => {
        const settled = (context) => {
            if (context.delivery !== delivery) return;
            sender.removeListener("settled", settled);
            resolve();
        };
        sender.on("settled", settled);
        sender.once("rejected", (context) => reject(new Error(context.delivery.remote_state.error.condition)));
    });
}

function take(receiver, count, dispose = (context) => context.delivery.accept()) {
    return new Promise((resolve) => {
        const messages = [];
        const came = (context) => {
            messages.push(context.message);
            dispose(context);
            if (messages.length < count) return;
            receiver.removeListener("message", came);
            resolve(messages);
        };
        receiver.on("message", came);
        receiver.add_credit(count);
    });
}

function receive(connection, source, options = {}) {
    return connection.open_receiver({ source, credit_window: 0, autoaccept: false, ...options });
}

async function basics(ports) {
    const connection = connect(ports, { id: "rhea-basics" });
    await event(connection, "connection_open");
    fact("product", connection.properties.product);
    const queue = connection.open_sender("queue://rhea.basics");
    await event(queue, "sendable");
    const bodies = ["text", Buffer.from("bytes"), { a: 1 }, [1, "two"], 7];
    const receiver = receive(connection, "rhea.basics");
    for (const body of bodies) {
        await send(queue, { body, subject: "kind", application_properties: { n: 1, t: "x" }, message_id: 5 });
        const [got] = await take(receiver, 1);
        fact("body", `${JSON.stringify(got.body)} ${got.subject} ${JSON.stringify(got.application_properties)} ${got.message_id}`);
    }
    await send(queue, { body: rhea.message.data_section(Buffer.from("section")) });
    fact("data", (await take(receiver, 1))[0].body.content.toString());

    await send(queue, { body: "again" });
    await take(receiver, 1, (context) => context.delivery.release({ delivery_failed: true }));
    const [again] = await take(receiver, 1, (context) => context.delivery.reject());
    fact("delivered before", again.delivery_count);
    const dead = receive(connection, "ActiveMQ.DLQ");
    fact("dead", (await take(dead, 1))[0].body);

    for (const n of [1, 2, 3]) await send(queue, { body: `s${n}`, application_properties: { n } });
    const selecting = receive(connection, { address: "rhea.basics", filter: rhea.filter.selector("n > 1") });
    fact("selected", (await take(selecting, 2)).map((each) => each.body).join(" "));
    await take(receiver, 1);

    const drained = event(receiver, "receiver_drained");
    receiver.drain = true;
    receiver.add_credit(10);
    await drained;
    fact("drained", receiver.credit);

    const answers = receive(connection, { dynamic: true });
    await event(answers, "receiver_open");
    fact("dynamic", answers.source.address.replace(/ID:.*/, "ID"));
    const relay = connection.open_sender({ target: {} });
    await event(relay, "sendable");
    const answer = take(answers, 1);
    await send(relay, { to: answers.source.address, body: "answer" });
    fact("answer", (await answer)[0].body);

    const refused = receive(connection, { address: "rhea.basics", filter: rhea.filter.selector("n >") });
    await event(refused, "receiver_error");
    fact("refused", refused.error.condition);
    connection.close();
    await event(connection, "connection_close");
    fact("closed", "in good order");
}

function numbers(ports) {
    const connection = connect(ports, { id: "rhea-numbers" });
    const sender = connection.open_sender("queue://rhea.numbers");
    const receiver = connection.open_receiver({ source: "rhea.numbers", credit_window: 100 });
    const unsettled = new Map();
    const again = [];
    let next = 0;
    let stopping = false;
    function pump() {
        while (sender.sendable() && unsettled.size < 20 && (again.length || !stopping)) {
            const number = again.length ? again.shift() : next++;
            unsettled.set(sender.send({ durable: true, body: number }), number);
        }
    }
    connection.on("connection_open", () => fact("open", connection.container_id));
    connection.on("disconnected", () => {
        again.push(...unsettled.values());
        unsettled.clear();
    });
    sender.on("sendable", pump);
    sender.on("accepted", (context) => {
        const number = unsettled.get(context.delivery);
        if (number === undefined) return;
        unsettled.delete(context.delivery);
        fact("accepted", number);
        setTimeout(pump, 2);
    });
    receiver.on("message", (context) => fact("got", context.message.body));
    process.stdin.resume();
    process.stdin.on("end", () => {
        stopping = true;
        const done = setInterval(() => {
            if (unsettled.size || again.length) return;
            clearInterval(done);
            connection.close();
            connection.once("connection_close", () => process.exit(0));
        }, 20);
    });
}

// With a token, by XOAUTH2: sends a message to a queue and takes it.
async function token([port, username, token, queue]) {
    const container = rhea.create_container();
    const connection = container.connect({ host: "127.0.0.1", port: Number(port), username, token, reconnect: false });
    const opened = await Promise.race([
        event(connection, "connection_open").then(() => true),
        event(connection, "connection_error").then(() => false),
    ]);
    fact("opened", opened);
    if (!opened) return;
    const sender = connection.open_sender(queue);
    const refused = await Promise.race([
        event(sender, "sendable").then(() => null),
        event(sender, "sender_error").then(() => sender.error),
    ]);
    if (refused) {
        fact("refused", refused.condition);
    } else {
        await send(sender, { body: "for operators" });
        fact("got", (await take(receive(connection, queue), 1))[0].body);
    }
    connection.close();
}

const [what, ...ports] = process.argv.slice(2);
({ basics, numbers, token })[what](ports);
