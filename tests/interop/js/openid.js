// A certified OpenID provider for tests: node openid.js PORT KEYFILE HOST [CALLBACK].
//
// Signs JWT access tokens and ID tokens with one key. With a callback, browsers log in by its pages: the client
// `console` has a secret, `pages` has none.
const fs = require("node:fs");

async function main() {
    const [port, keyFile, host, callback] = process.argv.slice(2);
    const { Provider } = await import("oidc-provider");
    const issuer = `http://${host}:${port}`;
    const people = {
        ann: { preferred_username: "ann", roles: ["ops", "unmapped"] },
        clerk: { preferred_username: "clerk", roles: ["clerks"] },
        admin: { preferred_username: "admin", roles: ["ops"] },
    };
    const secret = "a secret of the client";
    const client = (id) => ({
        client_id: id,
        client_secret: secret,
        grant_types: ["client_credentials"],
        response_types: [],
        redirect_uris: [],
    });
    const browsers = { grant_types: ["authorization_code"], response_types: ["code"], redirect_uris: [callback] };
    const back = callback && { post_logout_redirect_uris: [new URL("/login", callback).href] };
    const clients = Object.keys(people).map(client);
    if (callback) {
        clients.push({ client_id: "console", client_secret: secret, ...browsers, ...back });
        clients.push({ client_id: "pages", token_endpoint_auth_method: "none", ...browsers });
    }
    const provider = new Provider(issuer, {
        clients,
        claims: { openid: ["sub"], profile: ["preferred_username", "roles"] },
        findAccount: (ctx, id) => ({ accountId: id, claims: () => ({ sub: id, ...people[id] }) }),
        cookies: { keys: ["for tests"] },
        jwks: { keys: [JSON.parse(fs.readFileSync(keyFile, "utf8"))] },
        extraTokenClaims: (ctx, token) => people[token.clientId],
        ttl: { ClientCredentials: (ctx, token, made) => (made.clientId === "clerk" ? 3 : 600) },
        features: {
            devInteractions: { enabled: Boolean(callback) },
            clientCredentials: { enabled: true },
            resourceIndicators: {
                enabled: true,
                getResourceServerInfo: (ctx, resource) => ({
                    scope: "",
                    audience: resource.split("/").pop(),
                    accessTokenFormat: "jwt",
                    jwt: { sign: { alg: "RS256" } },
                    accessTokenTTL: 600,
                }),
            },
        },
    });
    provider.on("server_error", (ctx, error) => console.error(error));
    provider.listen(Number(port), "127.0.0.1", () => console.log("ready"));
}

main();
