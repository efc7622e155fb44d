// Two things, both optional: the page works without them.
"use strict";

// 1. Shows the newest figures in place, unless someone is reading with the keyboard or has switched it off.
const region = document.querySelector("[data-refresh]");
const box = document.getElementById("refresh");
async function refresh() {
  if (!box.checked || document.hidden || region.contains(document.activeElement)) return;
  try {
    const answer = await fetch(location.href, { headers: { accept: "text/html" } });
    if (answer.status === 401) return location.reload();
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("[data-refresh]");
    if (fresh) region.replaceChildren(...fresh.childNodes);
  } catch {
    // the server is away; the time of the last reading stays on the page
  }
}
if (region) {
  box.closest("label").hidden = false;
  setInterval(refresh, 1000 * region.dataset.refresh);
}

// 2. Inside LiteLLM's admin UI, which says who is logged in there: exchanges its claim for a session of this page.
const origin = document.body.dataset.litellm;
if (!origin && location.search === "?claimed") history.replaceState(null, "", "./");
if (origin && window.parent !== window) {
  window.addEventListener("message", async (event) => {
    if (event.origin !== origin || event.data?.type !== "litellm-auth") return;
    if (location.search === "?claimed") {
      document.getElementById("no-cookie").hidden = false;
      return;
    }
    const body = JSON.stringify({ session_claim: event.data.session_claim });
    const headers = { "content-type": "application/json" };
    const answer = await fetch("api/plugin-auth", { method: "POST", headers, body });
    if (answer.ok) location.search = "?claimed";
  });
}
