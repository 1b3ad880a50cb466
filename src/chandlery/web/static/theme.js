// Before anything is drawn: the theme that was chosen here before, or else the system's.
"use strict";
(function () {
  const kept = (() => {
    try { return localStorage.getItem("theme"); } catch { return null; }
  })();
  if (kept === "light" || kept === "dark") document.documentElement.dataset.theme = kept;
})();
