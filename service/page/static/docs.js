/* The API's forms, drawn by Swagger UI; a key is asked for and sent as the page does it. */

import { explain, getJson, RequestError } from "./core/api.js";
import { h } from "./core/dom.js";
import { makeKeyHeaders } from "./core/key.js";

try {
  window.SwaggerUIBundle({
    spec: await getJson("openapi.json"),
    dom_id: "#forms",
    deepLinking: true,
    presets: [window.SwaggerUIBundle.presets.apis],
    requestInterceptor: (request) => {
      request.headers = { ...makeKeyHeaders(), ...request.headers };
      return request;
    },
  });
} catch (error) {
  if (!(error instanceof RequestError)) throw error;
  document.getElementById("forms").append(h("p", { class: "notice bad" }, explain(error)));
}
