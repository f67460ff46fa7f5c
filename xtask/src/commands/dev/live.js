// Live reload, of `cargo xtask dev` and of nothing else: news of what was made of a saved file.
(() => {
  const origin = new URL(document.currentScript.src).origin;
  const news = new EventSource(`${origin}/news`);

  // A tool that ended and is back may have built anything in between.
  let opened = false;
  news.addEventListener("open", () => {
    if (opened) location.reload();
    opened = true;
  });

  news.addEventListener("reload", () => location.reload());

  // The new sheet is there before the old one goes: nothing flickers.
  news.addEventListener("styles", (event) => {
    const links = [...document.querySelectorAll("link[rel=stylesheet]")];
    for (const [from, to] of JSON.parse(event.data)) {
      const old = links.find((link) => new URL(link.href).pathname.endsWith(`/${from}`));
      if (!old) return location.reload();
      const fresh = document.createElement("link");
      fresh.rel = "stylesheet";
      fresh.href = old.href.slice(0, old.href.lastIndexOf(from)) + to;
      fresh.addEventListener("load", () => old.remove());
      fresh.addEventListener("error", () => location.reload());
      old.after(fresh);
    }
  });

  let overlay;
  news.addEventListener("problem", (event) => {
    overlay?.remove();
    overlay = undefined;
    const text = JSON.parse(event.data);
    if (!text) return;
    overlay = document.createElement("pre");
    overlay.id = "stevedore-problem";
    overlay.textContent = text;
    Object.assign(overlay.style, {
      position: "fixed", inset: "0", margin: "0", padding: "2rem", overflow: "auto",
      zIndex: "2147483647", background: "rgba(20, 20, 24, 0.94)", color: "#ffb4a9",
      font: "14px/1.5 ui-monospace, monospace", whiteSpace: "pre-wrap",
    });
    overlay.title = "Click to see the page, which is the last good one";
    overlay.addEventListener("click", () => overlay?.remove());
    document.documentElement.append(overlay);
  });
})();
