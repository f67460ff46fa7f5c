// The button for light and dark. Choosing what the system prefers anyway is no choice to remember,
// so that a visitor who comes back to it follows the system again.

const root = document.documentElement;
const systemIsDark = matchMedia("(prefers-color-scheme: dark)");

export function offerThemes() {
  const button = document.getElementById("theme-toggle");
  const show = () => button.setAttribute("aria-pressed", String(isDark()));
  button.addEventListener("click", () => {
    choose(isDark() ? "light" : "dark");
    show();
  });
  systemIsDark.addEventListener("change", show);
  show();
}

function isDark() {
  const chosen = root.dataset.bsTheme;
  return chosen ? chosen === "dark" : systemIsDark.matches;
}

function choose(theme) {
  const isDefault = theme === (systemIsDark.matches ? "dark" : "light");
  if (isDefault) {
    delete root.dataset.bsTheme;
  } else {
    root.dataset.bsTheme = theme;
  }
  try {
    if (isDefault) {
      localStorage.removeItem("theme");
    } else {
      localStorage.setItem("theme", theme);
    }
  } catch {
    // Storage is forbidden here: the choice holds for this page.
  }
}
