// Puts a visitor's chosen colours on before anything is drawn. No module, because those run later:
// the page would flash. _theme.js is where the choice is made.
{
  let chosen = null;
  try {
    chosen = localStorage.getItem("theme");
  } catch {
    // Storage is forbidden here: the system's preference holds.
  }
  if (chosen === "light" || chosen === "dark") {
    document.documentElement.dataset.bsTheme = chosen;
  }
}
