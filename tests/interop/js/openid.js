// A certified OpenID provider for tests: node openid.js PORT KEYFILE; signs JWT access tokens with one key.
const fs = require("node:fs");

async function main() {
    const [port, keyFile] = process.argv.slice(2);
    const { Provider } = await import("oidc-provider");
    const issuer = `http://127.0.0.1:${port}`;
    const people = {
        ann: { preferred_username: "ann", roles: ["ops", "unmapped"] },
        clerk: { preferred_username: "clerk", roles: ["clerks"] },
        admin: { preferred_username: "admin", roles: ["ops"] },
    };
    const client = (id) => ({
        client_id: id,
        client_secret: "a secret of the client",
        grant_types: ["client_credentials"],
        response_types: [],
        redirect_uris: [],
    });
    const provider = new Provider(issuer, {
        clients: Object.keys(people).map(client),
        jwks: { keys: [JSON.parse(fs.readFileSync(keyFile, "utf8"))] },
        extraTokenClaims: (ctx, token) => people[token.clientId],
        ttl: { ClientCredentials: (ctx, token, made) => (made.clientId === "clerk" ? 3 : 600) },
        features: {
            devInteractions: { enabled: false },
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
