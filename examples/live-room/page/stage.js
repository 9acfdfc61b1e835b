// The picture and what flies over it. The picture is computed, so that the example needs no video.

const canvas = document.querySelector("#picture");
const flying = document.querySelector("#flying");
const context = canvas.getContext("2d");
const isStill = matchMedia("(prefers-reduced-motion: reduce)");
const LANE = 34;
/** The speed of a text, in pixels per second. */
const SPEED = 130;
const GAP = 24;
/** The picture moves slowly, and shares the processor with everything else. */
const FRAME = 50;
/** The time at which the last text of each lane has entered completely. */
const lanes = [];
let drawn = 0;
let hearts = [];

function resize() {
  const ratio = Math.min(devicePixelRatio, 2);
  canvas.width = canvas.clientWidth * ratio;
  canvas.height = canvas.clientHeight * ratio;
  drawn = 0;
  if (isStill.matches) requestAnimationFrame(draw);
}

function draw(time) {
  if (!isStill.matches) requestAnimationFrame(draw);
  if (time - drawn < FRAME) return;
  drawn = time;
  const { width, height } = canvas;
  const t = time / 1000;
  const sky = context.createLinearGradient(0, 0, 0, height);
  sky.addColorStop(0, `hsl(${(250 + 20 * Math.sin(t / 9)) % 360} 60% 16%)`);
  sky.addColorStop(0.6, `hsl(${(320 + 25 * Math.sin(t / 7)) % 360} 55% 30%)`);
  sky.addColorStop(1, "hsl(20 70% 45%)");
  context.fillStyle = sky;
  context.fillRect(0, 0, width, height);
  context.fillStyle = "hsl(40 95% 75% / .85)";
  context.beginPath();
  context.arc(width * 0.7, height * (0.52 + 0.02 * Math.sin(t / 3)), height * 0.11, 0, 2 * Math.PI);
  context.fill();
  for (let wave = 0; wave < 4; wave++) {
    context.fillStyle = `hsl(${250 - wave * 8} 45% ${20 - wave * 4}% / .92)`;
    context.beginPath();
    context.moveTo(0, height);
    for (let x = 0; x <= width; x += width / 60) {
      const phase = x / width * (5 + wave * 2) + t * (0.5 + wave * 0.15);
      context.lineTo(x, height * (0.62 + wave * 0.09) + Math.sin(phase) * height * (0.018 + wave * 0.004));
    }
    context.lineTo(width, height);
    context.fill();
  }
  drawHearts(t, width, height);
}

function drawHearts(t, width, height) {
  hearts = hearts.filter(({ born }) => t - born < 3);
  context.font = `${Math.round(height / 22)}px system-ui`;
  for (const { born, x, sway } of hearts) {
    const age = (t - born) / 3;
    context.globalAlpha = 1 - age;
    context.fillStyle = "hsl(350 90% 60%)"; // For fonts without colours.
    context.fillText("❤️", width * x + Math.sin(age * 6 + sway) * width * 0.02, height * (0.95 - age * 0.6));
  }
  context.globalAlpha = 1;
}

/** Lets up to ten hearts rise. */
export function rise(count) {
  const born = performance.now() / 1000;
  for (let i = 0; i < Math.min(count, 10) && hearts.length < 60; i++) {
    hearts.push({ born: born + Math.random() * 0.4, x: 0.8 + Math.random() * 0.15, sway: Math.random() * 6 });
  }
}

/** Lets a text fly over the picture, if a lane is free: more could not be read. */
export function fly(text, isHost) {
  if (document.hidden) return;
  const now = performance.now();
  const count = Math.floor(flying.clientHeight / LANE);
  const lane = Array.from({ length: count }, (_, index) => index).find((index) => !(lanes[index] > now));
  if (lane === undefined) return;
  const span = document.createElement("span");
  span.textContent = text;
  span.style.top = `${lane * LANE}px`;
  span.classList.toggle("host", isHost);
  span.addEventListener("animationend", () => span.remove());
  flying.append(span);
  const width = span.offsetWidth;
  span.style.animationDuration = `${(innerWidth + width) / SPEED}s`;
  lanes[lane] = now + ((width + GAP) / SPEED) * 1000;
}

isStill.addEventListener("change", () => requestAnimationFrame(draw));
new ResizeObserver(resize).observe(canvas);
resize();
requestAnimationFrame(draw);
