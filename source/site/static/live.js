"use strict";
// A live figure without a kernel.  frames.py has drawn it for every combination of the values of
// its controls, the last control moving fastest; here the controls choose among these frames.

function slider(control) {
  const input = document.createElement("input");
  input.type = "range";
  input.max = control.values.length - 1;
  return input;
}

function list(control) {
  const input = document.createElement("select");
  control.values.forEach((value, place) => input.add(new Option(value, place)));
  return input;
}

function liveFigure(id, data) {
  const picture = new Image(data.width, data.height);
  const frame = document.createElement("figure");
  frame.append(picture);
  const sentence = document.createElement("p");
  sentence.setAttribute("aria-live", "polite");
  const chosen = data.controls.map((control) => control.start);
  const numbers = [];

  function show() {
    let place = 0;
    data.controls.forEach((control, k) => {
      place = place * control.values.length + chosen[k];
      numbers[k].textContent = control.values[chosen[k]];
    });
    [picture.src, sentence.textContent] = data.frames[place];
    picture.alt = sentence.textContent;
  }

  const rows = data.controls.map((control, k) => {
    const row = document.createElement("label");
    const input = control.slider ? slider(control) : list(control);
    numbers[k] = document.createElement("output");
    numbers[k].hidden = !control.slider;
    input.value = control.start;
    input.disabled = control.values.length === 1;
    const describe = () => input.setAttribute("aria-valuetext", control.values[chosen[k]]);
    input.addEventListener("input", () => {
      chosen[k] = Number(input.value);
      describe();
      show();
    });
    describe();
    row.append(control.label, " ", input, " ", numbers[k]);
    return row;
  });

  const note = document.createElement("p");
  note.textContent = data.note;
  document.getElementById(id).replaceChildren(...rows, frame, sentence, note);
  show();
}
