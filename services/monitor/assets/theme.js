// The theme that was chosen before, set before anything is drawn. Without a choice the system's theme applies.
(() => {
  let chosen = "";
  try {
    chosen = localStorage.getItem("tmatic-theme") || "";
  } catch {
    chosen = ""; // storage may be forbidden; then the system's theme holds
  }
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
})();
