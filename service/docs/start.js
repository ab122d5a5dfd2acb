/** Shows the API of the server that this page comes from, also behind a proxy that serves it under a path. */

const ROOT = new URL("..", import.meta.url);

const response = await fetch(new URL("openapi.json", ROOT));
const spec = await response.json();
spec.servers = [{ url: ROOT.href.replace(/\/$/, "") }];

SwaggerUIBundle({
  spec,
  domNode: document.getElementById("reference"),
  deepLinking: true,
  validatorUrl: null,
});
