// "5 minutes ago" instead of a time in UTC, as long as that is the shorter way to say it. The time
// where the visitor is shows when one points at it.

const MINUTE_MS = 60_000;
const HOUR_MINUTES = 60;
const TOLD_HOURS = 12;

const ago = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
const local = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "short" });

export function relateTimes() {
  const times = [...document.querySelectorAll(".activities time")];
  const show = () => times.forEach(relate);
  for (const time of times) {
    time.title = local.format(new Date(time.dateTime));
    time.dataset.utc = time.textContent;
  }
  show();
  setInterval(show, MINUTE_MS);
}

function relate(time) {
  const minutes = Math.round((Date.now() - Date.parse(time.dateTime)) / MINUTE_MS);
  time.textContent = inWords(minutes) ?? time.dataset.utc;
}

/** Nothing for what is still to come and for what is long gone. */
function inWords(minutes) {
  if (minutes < 0 || minutes >= TOLD_HOURS * HOUR_MINUTES) {
    return undefined;
  }
  if (minutes === 0) {
    return "just now";
  }
  if (minutes < HOUR_MINUTES) {
    return ago.format(-minutes, "minute");
  }
  return ago.format(-Math.floor(minutes / HOUR_MINUTES), "hour");
}
