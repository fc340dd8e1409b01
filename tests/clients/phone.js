// Opens a page as a phone does (360 by 740 points, touch), takes a picture, and tells in JSON what stands where.
// node phone.js <node_modules> <url> <picture.png> <language>
const { chromium } = require(process.argv[2] + "/playwright-core");

(async () => {
  const [, , , url, picture, locale] = process.argv;
  const browser = await chromium.launch({
    executablePath: "/usr/bin/chromium",
    args: [
      "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync",
    ],
  });
  const context = await browser.newContext({
    viewport: { width: 360, height: 740 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true, locale,
  });
  const page = await context.newPage();
  const complaints = [];
  page.on("console", (line) => complaints.push(line.text()));
  page.on("pageerror", (error) => complaints.push(String(error)));
  const response = await page.goto(url);
  await page.screenshot({ path: picture, fullPage: true });
  const told = await page.evaluate(() => ({
    language: document.documentElement.lang,
    title: document.querySelector("h1")?.textContent,
    width: document.documentElement.scrollWidth,
    text: parseFloat(getComputedStyle(document.body).fontSize),
    buttons: [...document.querySelectorAll("a.go")].map((button) => {
      const place = button.getBoundingClientRect();
      const style = getComputedStyle(button);
      return {
        title: button.textContent, href: button.getAttribute("href"), left: place.left, top: place.top,
        width: place.width, height: place.height, colour: style.backgroundColor, ink: style.color,
      };
    }),
  }));
  console.log(JSON.stringify({ status: response.status(), complaints, ...told }));
  await browser.close();
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
