// Help with the form: one tap for a frequent activity, minutes in hours, and the room that is left.

/** From here on the number of characters left is told. */
const LEFT_TOLD = 10;

export function helpWithForm() {
  const kind = document.getElementById("kind");
  const minutes = document.getElementById("minutes");
  const picks = [...document.querySelectorAll(".pick")];

  const showKind = () => {
    const left = kind.maxLength - kind.value.length;
    tell("kind-hint", left <= LEFT_TOLD ? `${left} characters left` : "");
    const typed = kind.value.trim().toLowerCase();
    picks.forEach((it) => it.setAttribute("aria-pressed", String(it.value === typed)));
  };
  const showMinutes = () => tell("minutes-hint", inHours(minutes.valueAsNumber, minutes));

  kind.addEventListener("input", showKind);
  minutes.addEventListener("input", showMinutes);
  for (const pick of picks) {
    pick.addEventListener("click", () => {
      kind.value = pick.value;
      showKind();
      minutes.focus();
    });
  }
  showKind();
  showMinutes();
}

function tell(id, text) {
  document.getElementById(id).textContent = text;
}

/** Says nothing about less than an hour, which needs no help, nor about what is not valid. */
function inHours(count, field) {
  if (!field.validity.valid || !(count >= 60)) {
    return "";
  }
  const rest = count % 60;
  return `= ${Math.floor(count / 60)} h${rest ? ` ${String(rest).padStart(2, "0")} min` : ""}`;
}
