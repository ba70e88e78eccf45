// A page that is opened from disk may start no worker, so search runs in a hidden frame instead.
if (location.protocol === "file:")
  window.Worker = class extends EventTarget {
    constructor(address) {
      super()
      this.frame = document.createElement("iframe")
      this.frame.hidden = true
      this.frame.srcdoc = "<!doctype html>"
      this.started = new Promise((resolve) => {
        this.frame.onload = () => resolve(this.start(new URL(address, document.baseURI)))
      })
      document.documentElement.append(this.frame)
    }

    // What the script posts goes to the page, as from a worker.
    start(address) {
      const inner = this.frame.contentWindow
      inner.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }))
      const script = this.frame.contentDocument.createElement("script")
      script.src = address
      return new Promise((resolve, reject) => {
        script.onload = () => resolve(inner)
        script.onerror = reject
        this.frame.contentDocument.head.append(script)
      })
    }

    async postMessage(data) {
      const inner = await this.started
      inner.dispatchEvent(new inner.MessageEvent("message", { data }))
    }

    terminate() {
      this.frame.remove()
    }
  }
