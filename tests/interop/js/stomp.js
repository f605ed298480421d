// @stomp/stompjs at work: what it saw is printed, one fact a line, as the Java programs do.
//
// Arguments: what to do, then the places to connect to. A place is a port on this host, for STOMP over TCP, or the
// URL of a WebSocket. `basics` ends when it is done, `numbers` when standard input closes.
"use strict";

const net = require("node:net");
const { Client, TickerStrategy } = require("@stomp/stompjs");
const WebSocket = require("ws");

// What @stomp/stompjs asks of a WebSocket, over TCP.
class Socket {
    constructor(port) {
        this.url = `tcp://127.0.0.1:${port}`;
        this.readyState = WebSocket.CONNECTING;
        this.socket = net.connect(port, "127.0.0.1", () => {
            this.readyState = WebSocket.OPEN;
            this.onopen();
        });
        this.socket.on("data", (data) => this.onmessage({ data: data.buffer.slice(data.byteOffset, data.byteOffset + data.length) }));
        this.socket.on("error", (error) => this.onerror && this.onerror(error));
        this.socket.on("close", () => {
            this.readyState = WebSocket.CLOSED;
            this.onclose({ code: 1000, reason: "" });
        });
    }

    send(data) {
        this.socket.write(data instanceof ArrayBuffer ? Buffer.from(data) : data);
    }

    close() {
        this.readyState = WebSocket.CLOSING;
        this.socket.end();
    }
}

function fact(name, value) {
    process.stdout.write(`${name}: ${value}\n`);
}

// A client that goes around the places until one of them serves it.
function client(places, options = {}) {
    let attempts = 0;
    return new Client({
        webSocketFactory: () => {
            const place = places[attempts++ % places.length];
            return /^[0-9]+$/.test(place) ? new Socket(Number(place)) : new WebSocket(place, ["v12.stomp", "v11.stomp"]);
        },
        connectHeaders: { login: "admin", passcode: "admin" },
        reconnectDelay: 50,
        heartbeatIncoming: 10000,
        heartbeatOutgoing: 10000,
        heartbeatStrategy: TickerStrategy.Interval,
        forceBinaryWSFrames: true,
        onStompError: (frame) => fact("error", frame.headers.message),
        ...options,
    });
}

function connected(made) {
    return new Promise((done) => {
        made.onConnect = (frame) => done(frame);
        made.activate();
    });
}

function sent(made, destination, body, headers = {}, options = {}) {
    return new Promise((done) => {
        const receipt = `r${Math.random()}`;
        made.watchForReceipt(receipt, done);
        made.publish({ destination, body, headers: { persistent: "true", receipt, ...headers }, ...options });
    });
}

// Resolves with so many messages of a subscription.
function received(made, destination, count, headers = {}) {
    return new Promise((done) => {
        const messages = [];
        const subscription = made.subscribe(
            destination,
            (message) => {
                messages.push(message);
                if (messages.length === count) {
                    done({ messages, subscription });
                }
            },
            headers,
        );
    });
}

async function basics(places) {
    const made = client(places);
    const frame = await connected(made);
    fact("version", frame.headers.version);
    const queue = "/queue/interop.js";
    await sent(made, queue, "gr\u00fc\u00dfe", { key: "a:b\\d\ne\r" }, { skipContentLengthHeader: true });
    await sent(made, queue, "", {}, { binaryBody: new Uint8Array([0, 255, 10]) });
    const { messages, subscription } = await received(made, queue, 2, { ack: "client-individual" });
    fact("text", `${messages[0].body} ${JSON.stringify(messages[0].headers.key)} ${messages[0].headers["content-length"]}`);
    fact("bytes", `${Array.from(messages[1].binaryBody)} ${messages[1].headers["content-length"]}`);
    messages[0].ack();
    messages[1].nack();
    subscription.unsubscribe();
    const dead = await received(made, "/queue/ActiveMQ.DLQ", 1);
    fact("dead", dead.messages[0].headers["original-destination"]);
    for (const step of ["abort", "commit"]) {
        const transaction = made.begin();
        made.publish({ destination: queue, body: step, headers: { transaction: transaction.id } });
        transaction[step]();
    }
    const committed = await received(made, queue, 1);
    fact("committed", committed.messages[0].body);
    await made.deactivate();
    fact("left", "in good order");
}

// Sends numbers, each until it is confirmed, over as many connections as it takes.
async function numbers(places, count) {
    const made = client(places);
    let number = 0;
    const next = () => {
        if (number === count) {
            made.deactivate().then(() => fact("done", number));
            return;
        }
        const receipt = `${number}-${Math.random()}`;
        made.watchForReceipt(receipt, () => {
            fact("confirmed", number++);
            next();
        });
        made.publish({ destination: "/queue/interop.js.takeover", body: `${number}`, headers: { persistent: "true", receipt } });
    };
    made.onConnect = next;
    made.activate();
}

const [what, ...rest] = process.argv.slice(2);
if (what === "basics") {
    basics(rest).then(() => process.exit(0));
} else {
    process.stdin.resume();
    process.stdin.on("end", () => process.exit(0));
    numbers(rest.slice(1), Number(rest[0]));
}
