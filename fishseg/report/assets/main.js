// The page, from top to bottom.

const content = JSON.parse(document.getElementById("content").textContent);
showSetup(content.setup);
showSummary(content);
showTraining(content);
// The table of classes stands above the images that it filters.
let browser = null;
showClasses(content, (name) => browser.filterByClass(name));
showSpecies(content);
showRobustness(content.robustness, content.figures.robustness);
showCalibration(content.splits, content.figures.calibration);
showAudit(content.audit, content.figures.audit);
showParameters(content.parameters);
browser = showImages(content.images);
