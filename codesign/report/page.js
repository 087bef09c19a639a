"use strict";
// What every figure shares: colours of the theme, hovering, sorting. Text only by textContent.
const page = { data: JSON.parse(document.getElementById("data").textContent), redraws: [] };

page.colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

page.mix = (value) => { // cividis, as in colours.py
  const anchors = page.data.cividis;
  const at = Math.min(1, Math.max(0, value)) * (anchors.length - 1);
  const i = Math.min(Math.floor(at), anchors.length - 2);
  return anchors[i].map((a, k) => Math.round(a + (anchors[i + 1][k] - a) * (at - i)));
};
page.cividis = (value) => `rgb(${page.mix(value).join(",")})`;

page.element = (name, attributes = {}, ...children) => {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "text") made.textContent = value;
    else if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
};

page.count = (value) => Math.round(value).toString().replace(/\B(?=(\d{3})+$)/g, "\u202f");

// Arrays come as base64 of little-endian numbers.
page.numbers = (packed) => {
  const text = atob(packed.data), bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return new { u1: Uint8Array, i4: Int32Array, f8: Float64Array }[packed.type](bytes.buffer);
};

// Canvases are drawn at the screen's resolution, and again when size or theme change.
page.canvas = (canvas, draw) => {
  const redraw = () => {
    const width = canvas.clientWidth, height = canvas.clientHeight;
    if (!width || !height) return;
    const scale = Math.max(1, window.devicePixelRatio || 1);
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
    const context = canvas.getContext("2d");
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, width, height);
    draw(context, width, height);
  };
  page.redraws.push(redraw);
  new ResizeObserver(redraw).observe(canvas);
  return redraw;
};
page.redraw = () => page.redraws.forEach((redraw) => redraw());
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", page.redraw);
addEventListener("beforeprint", () => {
  document.documentElement.dataset.print = "";
  document.querySelectorAll("details").forEach((d) => { d.dataset.was = d.open; d.open = true; });
  page.redraw();
});
addEventListener("afterprint", () => {
  delete document.documentElement.dataset.print;
  document.querySelectorAll("details").forEach((d) => { d.open = d.dataset.was === "true"; });
  page.redraw();
});

// Hovering: an element of class t tells what its <title> or data-tip says, at once.
page.tip = (() => {
  const box = document.getElementById("tip");
  const show = (told, x, y) => {
    box.textContent = told;
    const { width, height } = box.getBoundingClientRect();
    const left = Math.min(Math.max(8, x + 14), innerWidth - width - 8);
    const top = y + 18 + height > innerHeight ? y - height - 12 : y + 18;
    box.style.transform = `translate(${left}px, ${Math.max(4, top)}px)`;
    box.style.visibility = "visible";
  };
  const hide = () => { box.style.visibility = "hidden"; };
  const told = (element) => {
    const title = element.querySelector(":scope > title");
    if (title) {
      element.dataset.tip = title.textContent;
      element.setAttribute("aria-label", title.textContent);
      element.setAttribute("role", "img");
      title.remove(); // the browser would show it a second time
    }
    return element.dataset.tip;
  };
  const over = (event) => {
    const element = event.target.closest?.(".t");
    if (element && told(element)) show(told(element), event.clientX, event.clientY);
  };
  document.addEventListener("pointerover", over);
  document.addEventListener("pointermove", over);
  document.addEventListener("pointerout", hide);
  document.addEventListener("focusin", (event) => {
    const element = event.target.closest?.(".t");
    if (!element || !element.matches(":focus-visible") || !told(element)) return;
    const { left, bottom } = element.getBoundingClientRect();
    show(told(element), left, bottom - 12);
  });
  document.addEventListener("focusout", hide);
  addEventListener("scroll", hide, { passive: true });
  return { show, hide };
})();

// Tables of class sortable: a click on a heading sorts by it, numbers by data-value.
document.querySelectorAll("table.sortable").forEach((table) => {
  const headings = [...table.tHead.rows[0].cells];
  const key = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.value === undefined ? cell.textContent : Number(cell.dataset.value);
  };
  const compare = (a, b) => {
    if (typeof a === "number" && typeof b === "number") {
      return (Number.isNaN(a) ? Infinity : a) - (Number.isNaN(b) ? Infinity : b);
    }
    return String(a).localeCompare(String(b));
  };
  headings.forEach((heading, column) => {
    heading.querySelector("button").addEventListener("click", () => {
      const turn = heading.getAttribute("aria-sort") === "descending" ? 1 : -1;
      headings.forEach((other) => other.setAttribute("aria-sort", "none"));
      heading.setAttribute("aria-sort", turn > 0 ? "ascending" : "descending");
      const rows = [...table.tBodies[0].rows];
      rows.sort((a, b) => turn * compare(key(a, column), key(b, column)));
      table.tBodies[0].append(...rows);
    });
  });
});
