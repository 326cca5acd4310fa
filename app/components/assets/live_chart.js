// A Plotly chart that is drawn anew in place: what the reader zoomed into stays, whatever arrives meanwhile.
// Plotly comes from this server, once for all charts of the window.

function library(address) {
  window.fedcostPlotly ??= new Promise((done, failed) => {
    const script = document.createElement("script")
    script.src = address
    script.onload = () => done(window.Plotly)
    script.onerror = () => {
      window.fedcostPlotly = undefined
      failed(new Error("the chart library did not load"))
    }
    document.head.append(script)
  })
  return window.fedcostPlotly
}

function themed(layout, place) {
  const style = getComputedStyle(place)
  const colour = (name) => style.getPropertyValue(name).trim() || undefined
  const text = colour("--st-text-color")
  const lines = colour("--st-border-color")
  const axis = (own) => ({ gridcolor: lines, linecolor: lines, tickcolor: lines, zerolinecolor: lines, ...own })
  return {
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: style.fontFamily, color: text, size: 12 },
    hoverlabel: {
      bgcolor: colour("--st-secondary-background-color"),
      bordercolor: lines,
      font: { color: text, family: style.fontFamily },
      ...layout.hoverlabel,
    },
    ...layout,
    xaxis: axis(layout.xaxis),
    yaxis: axis(layout.yaxis),
    modebar: { bgcolor: "rgba(0,0,0,0)", color: colour("--st-gray-text-color"), activecolor: text },
  }
}

// What the reader zoomed into: the span of Rounds, and of the values if these were zoomed too.
function remember(place, change) {
  const touched = (axis) => Object.keys(change).some((key) => key.startsWith(`${axis}.range`))
  if (place.redrawing || !(touched("xaxis") || touched("yaxis"))) return
  place.zoom = {
    x: [...place.layout.xaxis.range],
    y: touched("yaxis") || place.zoom?.y ? [...place.layout.yaxis.range] : null,
  }
}

// While the mouse draws a zoom box nothing is drawn anew: that would take the box away.
function hold(Plotly, place) {
  place.held = true
  const release = () => {
    place.held = false
    if (place.waits) draw(Plotly, place)
  }
  document.addEventListener("mouseup", () => setTimeout(release, 350), { once: true, capture: true })
}

function draw(Plotly, place) {
  place.waits = place.held
  if (place.held) return undefined
  const { figure, view, alt } = place.wanted
  place.querySelector(".said")?.remove()
  place.setAttribute("aria-label", alt)
  if (place.view !== view) place.zoom = null
  place.view = view
  const xaxis = { ...figure.layout.xaxis, range: [...(place.zoom?.x ?? figure.layout.xaxis.range)] }
  const yaxis = { ...figure.layout.yaxis, ...(place.zoom?.y ? { range: [...place.zoom.y], autorange: false } : {}) }
  const whole = () => {
    place.zoom = null
    place.held = false
    draw(Plotly, place)
  }
  const config = {
    displaylogo: false,
    responsive: false,
    doubleClick: false,
    scrollZoom: false,
    modeBarButtons: [["toImage", { name: "All rounds", title: "Show all rounds", icon: Plotly.Icons.home, click: whole }]],
  }
  place.redrawing = true
  return Plotly.react(place, figure.data, themed({ ...figure.layout, xaxis, yaxis }, place), config).then(() => {
    place.redrawing = false
    if (place.listening) return
    place.listening = true
    place.addEventListener("mousedown", () => hold(Plotly, place), true)
    place.on("plotly_doubleclick", whole)
    place.on("plotly_relayout", (change) => remember(place, change))
    new ResizeObserver(() => place.isConnected && Plotly.Plots.resize(place)).observe(place)
  })
}

export default function ({ data, parentElement }) {
  const place = parentElement.querySelector(".live-chart")
  const shown = JSON.stringify(data)
  if (place.shown === shown) return
  place.shown = shown
  place.wanted = data
  place.style.height = `${data.figure.layout.height}px`
  library(data.library)
    .then((Plotly) => (place.drawing = Promise.resolve(place.drawing).then(() => draw(Plotly, place))))
    .catch(() => {
      place.shown = undefined
      place.innerHTML = '<p class="said">The chart could not be drawn. Reload the page to try again.</p>'
    })
}
