// @vercel/cosmosdb-server on two free ports: plain with connections that are kept, and TLS with its own self-signed
// certificate and a connection for each request, which is what it does by itself. Prints "ready URL URL".

import { createRequire } from "node:module";

const { createHttpServer, createHttpsServer } = createRequire(`${process.env.INTEROP_JS}/`)("@vercel/cosmosdb-server");

const listen = server => new Promise(resolve => server.listen(0, "127.0.0.1", () => resolve(server.address().port)));

const plain = await listen(createHttpServer({ keepAlive: true }));
const secure = await listen(createHttpsServer());
console.log(`ready http://127.0.0.1:${plain}/ https://127.0.0.1:${secure}/`);
