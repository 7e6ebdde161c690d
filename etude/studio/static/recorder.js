// The microphone: a worklet, with all of the browser's processing off (with it a held note decays).
import { audio } from "./keys.js";

export function microphoneMissing() {
  if (!window.isSecureContext) return "The browser allows no microphone here, since this page came by http from another machine. The operator can add a certificate (https).";
  if (!navigator.mediaDevices?.getUserMedia || !window.AudioWorkletNode) return "This browser gives no access to a microphone.";
  return "";
}

export class Recording {
  constructor(most, told) { Object.assign(this, { most, told, blocks: [], samples: 0 }); }
  async start() {
    const sink = audio();
    try {
      this.stream = await navigator.mediaDevices.getUserMedia({
        audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false, channelCount: 1 },
      });
    } catch { throw new Error("The browser did not allow the microphone."); }
    await sink.audioWorklet.addModule("static/recorder-worklet.js");
    this.rate = sink.sampleRate;
    this.source = sink.createMediaStreamSource(this.stream);
    this.node = new AudioWorkletNode(sink, "recorder", { numberOfOutputs: 0 });
    this.node.port.onmessage = ({ data }) => {
      this.blocks.push(data); this.samples += data.length;
      let loudest = 0;
      for (const value of data) loudest = Math.max(loudest, Math.abs(value));
      this.told(this.samples / this.rate, loudest);
    };
    this.source.connect(this.node);
  }
  get full() { return this.samples / (this.rate || 1) >= this.most; }
  stop() {
    this.node.port.onmessage = null;
    this.source.disconnect();
    this.stream.getTracks().forEach((track) => track.stop());
    return wav(this.blocks, this.samples, this.rate);
  }
}

// Float blocks -> the bytes of a 16-bit WAV.
export function wav(blocks, samples, rate) {
  const bytes = new DataView(new ArrayBuffer(44 + 2 * samples));
  const words = (at, text) => [...text].forEach((letter, i) => bytes.setUint8(at + i, letter.charCodeAt(0)));
  words(0, "RIFF"); bytes.setUint32(4, 36 + 2 * samples, true); words(8, "WAVEfmt ");
  bytes.setUint32(16, 16, true); bytes.setUint16(20, 1, true); bytes.setUint16(22, 1, true);
  bytes.setUint32(24, rate, true); bytes.setUint32(28, 2 * rate, true);
  bytes.setUint16(32, 2, true); bytes.setUint16(34, 16, true);
  words(36, "data"); bytes.setUint32(40, 2 * samples, true);
  let at = 44;
  for (const block of blocks) for (const value of block) {
    bytes.setInt16(at, Math.max(-1, Math.min(1, value)) * 32767, true); at += 2;
  }
  return bytes.buffer;
}
