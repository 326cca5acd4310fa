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

const same = (one, other) => one?.length === 2 && one.every((value, at) => Math.abs(value - other[at]) < 1e-6)

function draw(Plotly, place) {
  const { figure, view, alt } = place.wanted
  place.querySelector(".said")?.remove()
  place.setAttribute("aria-label", alt)
  if (place.view !== view) place.zoomed = false
  place.view = view
  // Plotly keeps a zoom only while the axis that comes with new data is the one that was zoomed.
  if (!place.zoomed) place.range = figure.layout.xaxis.range
  const layout = themed({ ...figure.layout, xaxis: { ...figure.layout.xaxis, range: [...place.range] } }, place)
  layout.uirevision = view
  const whole = () => {
    place.zoomed = false
    const range = [...place.wanted.figure.layout.xaxis.range]
    place.range = range
    Plotly.relayout(place, { "xaxis.range": range, "yaxis.autorange": true })
  }
  const config = {
    displaylogo: false,
    responsive: false,
    doubleClick: false,
    scrollZoom: false,
    modeBarButtons: [["toImage", { name: "All rounds", title: "Show all rounds", icon: Plotly.Icons.home, click: whole }]],
  }
  return Plotly.react(place, figure.data, layout, config).then(() => {
    if (place.listening) return
    place.listening = true
    place.on("plotly_doubleclick", whole)
    place.on("plotly_relayout", (change) => {
      if (Object.keys(change).some((key) => key.startsWith("xaxis.range") || key.startsWith("yaxis.range")))
        place.zoomed = !same(place.layout.xaxis.range, place.wanted.figure.layout.xaxis.range)
          || !place.layout.yaxis.autorange
    })
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
