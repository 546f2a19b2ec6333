class BaseService {
  constructor(model) {
    this.model = model;
  }

  find(criteria, options = {}) {
    return this.model.find(criteria, null, options);
  }

  get(id) {
    return this.model.findById(id);
  }
}

module.exports = BaseService;
