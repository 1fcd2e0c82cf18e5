// The contrast of every text that is shown, as WCAG 2.2 defines it (1.4.3), from what the browser computed: colours
// of any notation, every layer behind the text down to the page, and a grayscale filter over both. Gives the texts
// that have less than `least`, and how many texts were looked at.
(least) => {
  const canvas = document.createElement("canvas");
  const drawing = canvas.getContext("2d", { willReadFrequently: true });
  const pixel = (color) => {
    drawing.clearRect(0, 0, 1, 1);
    drawing.fillStyle = color;
    drawing.fillRect(0, 0, 1, 1);
    const [r, g, b, alpha] = drawing.getImageData(0, 0, 1, 1).data;
    return [r, g, b, alpha / 255];
  };
  const over = ([r, g, b, alpha], below) =>
    [r, g, b].map((part, at) => part * alpha + below[at] * (1 - alpha));
  const behind = (element) => {
    const layers = [];
    for (let one = element; one !== null; one = one.parentElement) {
      const style = getComputedStyle(one);
      if (style.opacity !== "1") throw new Error(`text under opacity: ${one.className}`);
      const color = pixel(style.backgroundColor);
      layers.push(color);
      if (color[3] === 1) break;
    }
    return layers.reverse().reduce((below, layer) => over(layer, below), pixel("Canvas"));
  };
  const isGray = (element) => {
    for (let one = element; one !== null; one = one.parentElement) {
      if (getComputedStyle(one).filter.includes("grayscale")) return true;
    }
    return false;
  };
  const filtered = (rgb, gray) => {
    if (!gray) return rgb;
    const [r, g, b] = rgb;
    return Array(3).fill(0.2126 * r + 0.7152 * g + 0.0722 * b);
  };
  const luminance = (rgb) => {
    const [r, g, b] = rgb.map((part) => part / 255)
      .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const poor = [];
  let seen = 0;
  const look = (element, color, text) => {
    seen += 1;
    const gray = isGray(element);
    const back = behind(element);
    const front = over(pixel(color), back);
    const [high, low] = [front, back].map((rgb) => luminance(filtered(rgb, gray))).sort((a, b) => b - a);
    const ratio = (high + 0.05) / (low + 0.05);
    if (ratio < least) poor.push(`${ratio.toFixed(2)} ${element.tagName}.${element.className}: ${text.slice(0, 40)}`);
  };
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = texts.nextNode(); node !== null; node = texts.nextNode()) {
    const element = node.parentElement;
    if (node.data.trim() === "" || ["SCRIPT", "STYLE", "NOSCRIPT"].includes(element.tagName)) continue;
    if (element.checkVisibility()) look(element, getComputedStyle(element).color, node.data);
  }
  for (const element of document.querySelectorAll("body *")) {
    if (!element.checkVisibility()) continue;
    for (const part of ["::before", "::after", "::placeholder"]) {
      const style = getComputedStyle(element, part);
      const written = part === "::placeholder" ? element.placeholder : style.content;
      if (written && !["none", "normal", '""'].includes(written)) look(element, style.color, written);
    }
    if (element.tagName === "INPUT") look(element, getComputedStyle(element).color, element.name);
  }
  return { poor, seen };
}
